-- Asks for 100,000 URLs, once each, and ends.
local n = 0
request = function()
  n = n + 1
  if n > 100000 then
    wrk.thread:stop()
  end
  return wrk.format("GET", "/1k?n=" .. n)
end
