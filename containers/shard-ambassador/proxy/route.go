package proxy

import (
	"strconv"

	"distlab/containers/shard-ambassador/resp"
)

// handle takes one complete request: an array of bulk strings, whatever it was
// when it came.
func (c *client) handle(req []byte, args []resp.Arg) {
	name := req[args[0].Data:args[0].End]
	cmd := resp.Lookup(name)
	c.pool.stats.Requests++
	switch {
	case cmd == nil && resp.IsForeign(name):
		c.foreign("HTTP")
		return
	case !c.authed && (cmd == nil || cmd.Name != "auth" && cmd.Name != "hello" && cmd.Name != "quit"):
		c.reply("-NOAUTH Authentication required.\r\n")
		return
	case cmd == nil:
		c.refuse("ERR unknown command '" + printable(name) + "'")
		return
	case cmd.Action == resp.Refused:
		c.refuse("ERR '" + cmd.Name + "' is not supported over shards: " + cmd.Why)
		return
	case !cmd.ArityOK(len(args)):
		c.refuse("ERR wrong number of arguments for '" + cmd.Name + "' command")
		return
	}
	switch cmd.Action {
	case resp.Local:
		c.local(cmd.Name, req, args)
	case resp.Anywhere:
		c.anywhere(req)
	case resp.Forward:
		c.forward(cmd, req, args)
	default:
		c.spread(cmd, req, args)
	}
}

// refuse answers with an error of ours.
func (c *client) refuse(why string) {
	c.pool.stats.Refused++
	c.reply("-" + why + "\r\n")
}

// printable is a client's word as it may stand in an error: Redis shows 128 bytes of it, too.
func printable(word []byte) string {
	if len(word) > 128 {
		word = word[:128]
	}
	quoted := strconv.QuoteToASCII(string(word))
	return quoted[1 : len(quoted)-1]
}

// forward sends a request as it is to the shard that has all its keys.
func (c *client) forward(cmd *resp.Command, req []byte, args []resp.Arg) {
	w := c.w
	var err error
	if w.keys, err = cmd.Keys(w.keys[:0], req, args); err != nil {
		c.refuse(err.Error())
		return
	}
	if len(w.keys) == 0 {
		c.refuse("ERR a request without keys belongs to no shard")
		return
	}
	var at int
	for i, k := range w.keys {
		shard, bad := c.pool.pick(req[args[k].Data:args[k].End])
		switch {
		case bad != "":
			c.reply(bad)
			return
		case i > 0 && shard != at:
			c.refuse("CROSSSLOT Keys in request don't hash to the same shard")
			return
		}
		at = shard
	}
	c.sendTo(at, req)
}

// sendTo sends a whole request to one shard.
func (c *client) sendTo(shard int, req []byte) {
	b, bad := c.pool.backend(shard, c)
	if bad != "" {
		c.reply(bad)
		return
	}
	_, seq := c.slots.push(c.w)
	b.out.add(&c.w.buffers, req)
	b.send(c, seq, -1, len(req))
}

// anywhere sends a request to the first shard that is not ejected.
func (c *client) anywhere(req []byte) {
	for i, s := range c.pool.shards {
		if !s.ejected {
			c.sendTo(i, req)
			return
		}
	}
	c.reply("-ERR no shard is up\r\n")
}
