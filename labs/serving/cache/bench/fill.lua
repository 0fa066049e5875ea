-- Asks for 100,000 URLs, over and over.
local n = 0
request = function()
  n = n % 100000 + 1
  return wrk.format("GET", "/1k?n=" .. n)
end
