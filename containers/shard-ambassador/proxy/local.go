package proxy

import (
	"crypto/subtle"
	"fmt"
	"strconv"

	"distlab/containers/shard-ambassador/resp"
)

// What HELLO says that this is: the version is that of the Redis whose
// commands are known here.
const (
	serverName    = "redis"
	serverVersion = "8.0.0"
)

const wrongPass = "WRONGPASS invalid username-password pair or user is disabled."

// local answers what is about the client's connection, and not about keys.
func (c *client) local(name string, req []byte, args []resp.Arg) {
	arg := func(i int) []byte { return req[args[i].Data:args[i].End] }
	switch name {
	case "ping":
		switch len(args) {
		case 1:
			c.reply("+PONG\r\n")
		case 2:
			c.replyBytes(req[args[1].Start : args[1].End+2])
		default:
			c.refuse("ERR wrong number of arguments for 'ping' command")
		}
	case "echo":
		c.replyBytes(req[args[1].Start : args[1].End+2])
	case "quit":
		c.reply("+OK\r\n")
		c.shut()
	case "select":
		if string(arg(1)) == "0" {
			c.reply("+OK\r\n")
		} else {
			c.refuse("ERR SELECT is not supported over shards, except of 0: the pool's own database")
		}
	case "auth":
		c.auth(args, arg)
	case "hello":
		c.hello(args, arg)
	case "reset":
		if c.slots.len() > 0 {
			c.fence = true
			return
		}
		c.resp3, c.name = false, ""
		c.authed = c.pool.cfg.RedisAuth == ""
		c.reply("+RESET\r\n")
	case "client":
		c.clientCommand(args, arg)
	case "command":
		c.command(args, arg)
	}
}

// password says whether it is the pool's.
func (c *client) password(given []byte) bool {
	return subtle.ConstantTimeCompare(given, []byte(c.pool.cfg.RedisAuth)) == 1
}

// auth has twemproxy's answers. A user can only be default: the servers are logged in to before.
func (c *client) auth(args []resp.Arg, arg func(int) []byte) {
	switch {
	case len(args) > 3:
		c.refuse("ERR syntax error")
	case c.pool.cfg.RedisAuth == "" && len(args) == 3 && string(arg(1)) == "default":
		c.reply("+OK\r\n") // as in Redis: the user needs no password, and so has any
	case c.pool.cfg.RedisAuth == "" && len(args) == 3:
		c.refuse(wrongPass)
	case c.pool.cfg.RedisAuth == "":
		c.refuse("ERR Client sent AUTH, but no password is set")
	case len(args) == 3 && string(arg(1)) != "default" || !c.password(arg(len(args)-1)):
		c.authed = false
		c.refuse("ERR invalid password")
	default:
		c.authed = true
		c.reply("+OK\r\n")
	}
}

// hello is HELLO [2|3 [AUTH user password] [SETNAME name]]. The shards are
// spoken to in the same version, over connections of their own, so that the
// client gets exactly what it would get from them. So the change waits until
// all requests before it have been answered.
func (c *client) hello(args []resp.Arg, arg func(int) []byte) {
	if c.slots.len() > 0 {
		c.fence = true
		return
	}
	resp3, authed, name := c.resp3, c.authed, c.name
	if len(args) > 1 {
		switch string(arg(1)) {
		case "2":
			resp3 = false
		case "3":
			resp3 = true
		default:
			if _, ok := resp.Integer(arg(1)); !ok {
				c.refuse("ERR Protocol version is not an integer or out of range")
			} else {
				c.refuse("NOPROTO unsupported protocol version")
			}
			return
		}
		if old := c.pool.resp2Only(); resp3 && old != nil {
			c.refuse("NOPROTO unsupported protocol version: shard " + strconv.Quote(old.server.Name) + " speaks RESP2 alone")
			return
		}
	}
	for i := 2; i < len(args); i++ {
		switch {
		case resp.Is(arg(i), "auth") && i+2 < len(args):
			if string(arg(i+1)) != "default" || c.pool.cfg.RedisAuth != "" && !c.password(arg(i+2)) {
				c.refuse(wrongPass)
				return
			}
			authed = true
			i += 2
		case resp.Is(arg(i), "setname") && i+1 < len(args):
			i++
			if !nameOK(arg(i)) {
				c.refuse("ERR Client names cannot contain spaces, newlines or special characters.")
				return
			}
			name = string(arg(i))
		default:
			c.refuse("ERR Syntax error in HELLO option '" + printable(arg(i)) + "'")
			return
		}
	}
	if !authed {
		c.refuse("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	c.resp3, c.authed, c.name = resp3, authed, name
	head, proto := "*14\r\n", 2
	if resp3 {
		head, proto = "%7\r\n", 3
	}
	b := append(c.w.get(256), head...)
	b = resp.AppendBulk(resp.AppendBulk(b, "server"), serverName)
	b = resp.AppendBulk(resp.AppendBulk(b, "version"), serverVersion)
	b = resp.AppendNumber(resp.AppendBulk(b, "proto"), ':', proto)
	b = resp.AppendNumber(resp.AppendBulk(b, "id"), ':', int(c.id))
	b = resp.AppendBulk(resp.AppendBulk(b, "mode"), "standalone")
	b = resp.AppendBulk(resp.AppendBulk(b, "role"), "master")
	b = resp.AppendNumber(resp.AppendBulk(b, "modules"), '*', 0)
	c.replyBytes(b)
	c.w.put(b)
}

// nameOK is Redis' rule for names of clients.
func nameOK(name []byte) bool {
	for _, ch := range name {
		if ch < '!' || ch > '~' {
			return false
		}
	}
	return len(name) <= 1024
}

// clientCommand answers what libraries ask at the beginning of a connection.
func (c *client) clientCommand(args []resp.Arg, arg func(int) []byte) {
	n, sub := len(args), arg(1)
	switch {
	case resp.Is(sub, "setname") && n == 3:
		if !nameOK(arg(2)) {
			c.refuse("ERR Client names cannot contain spaces, newlines or special characters.")
			return
		}
		c.name = string(arg(2))
		c.reply("+OK\r\n")
	case resp.Is(sub, "getname") && n == 2:
		if c.name == "" {
			c.reply(c.null())
			return
		}
		c.reply(fmt.Sprintf("$%d\r\n%s\r\n", len(c.name), c.name))
	case resp.Is(sub, "setinfo") && n == 4:
		switch {
		case !resp.Is(arg(2), "lib-name") && !resp.Is(arg(2), "lib-ver"):
			c.refuse("ERR Unrecognized option '" + printable(arg(2)) + "'")
		case !nameOK(arg(3)):
			c.refuse("ERR " + printable(arg(2)) + " cannot contain spaces, newlines or special characters.")
		default:
			c.reply("+OK\r\n")
		}
	case resp.Is(sub, "id") && n == 2:
		c.reply(":" + strconv.FormatInt(c.id, 10) + "\r\n")
	case resp.Is(sub, "info") && n == 2:
		proto := 2
		if c.resp3 {
			proto = 3
		}
		text := fmt.Sprintf("id=%d name=%s db=0 resp=%d\n", c.id, c.name, proto)
		c.reply(fmt.Sprintf("$%d\r\n%s\r\n", len(text), text))
	case (resp.Is(sub, "no-evict") || resp.Is(sub, "no-touch")) && n == 3 && (resp.Is(arg(2), "on") || resp.Is(arg(2), "off")):
		if resp.Is(sub, "no-touch") && resp.Is(arg(2), "on") {
			c.refuse("ERR CLIENT NO-TOUCH is not supported over shards: other clients share the connections")
			return
		}
		c.reply("+OK\r\n")
	default:
		c.refuse("ERR CLIENT " + printable(sub) + " is not supported over shards, or its arguments are wrong")
	}
}

func (c *client) null() string {
	if c.resp3 {
		return "_\r\n"
	}
	return "$-1\r\n"
}

// command answers COMMAND and its subcommands about the commands that are known here.
func (c *client) command(args []resp.Arg, arg func(int) []byte) {
	switch {
	case len(args) == 1:
		c.reply(commandList)
	case resp.Is(arg(1), "count") && len(args) == 2:
		c.reply(fmt.Sprintf(":%d\r\n", commandCount))
	case resp.Is(arg(1), "docs"):
		if c.resp3 {
			c.reply("%0\r\n")
		} else {
			c.reply("*0\r\n")
		}
	case resp.Is(arg(1), "list") && len(args) == 2:
		c.reply(commandNames)
	case resp.Is(arg(1), "info"):
		if len(args) == 2 {
			c.reply(commandList)
			return
		}
		b := resp.AppendNumber(nil, '*', len(args)-2)
		for i := 2; i < len(args); i++ {
			if cmd := resp.Lookup(arg(i)); cmd != nil && cmd.Action != resp.Refused {
				b = append(b, cmd.Info()...)
			} else if c.resp3 {
				b = append(b, "_\r\n"...)
			} else {
				b = append(b, "*-1\r\n"...)
			}
		}
		c.replyBytes(b)
	default:
		c.refuse("ERR COMMAND " + printable(arg(1)) + " is not supported, or its arguments are wrong")
	}
}

// The answers about all commands, made once.
var commandList, commandNames, commandCount = func() (list, names string, n int) {
	for _, cmd := range resp.Commands() {
		if cmd.Action == resp.Refused {
			continue
		}
		n++
		list += cmd.Info()
		names += string(resp.AppendBulk(nil, cmd.Name))
	}
	return fmt.Sprintf("*%d\r\n%s", n, list), fmt.Sprintf("*%d\r\n%s", n, names), n
}()
