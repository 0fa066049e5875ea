// Package forward is what every HTTP proxy of this repository is built from: it
// takes clients in, with TLS or without, by HTTP/1.1 or HTTP/2, hands each request to
// whoever decides, asks the server that was decided on, and passes the answer
// back. A container is what it decides:
//
//	e := &forward.Engine{
//		Handle: func(x *forward.Exchange) {
//			backend := choose(x.Request, x.Target)        // whom to ask
//			x.Out.Header.Set("X-Chosen", backend.Addr)    // the request before it is sent
//			resp, err := x.Ask(backend)
//			for err != nil && x.MayRepeat(err, forward.Idempotent(x.Request.Method)) && left() {
//				resp, err = x.Ask(choose(x.Request, x.Target))
//			}
//			if err != nil {
//				x.Explain(err, "the server")              // 502, 504, 408, 400 …
//				return
//			}
//			resp.Header.Set("X-Served-By", backend.Addr)  // the answer before it is passed on
//			err = x.Answer(resp)                          // errors.Is(err, forward.ErrBroken): its fault
//		},
//		Forwarder: &http1.Forwarder{Scheme: "http"},
//		Log:       log,
//	}
//	err := e.Serve(listener)
//
// # What a container does where
//
//   - It chooses a server in Handle, and again after each failure: a balancer's
//     policy. [Exchange.Keep] says how much of a body is kept for that.
//   - It sees the request before it is sent in [Exchange.Request], as it came, and in
//     [Exchange.Out], as it goes, and may change the latter, [Exchange.Target] too.
//   - It sees the head of the answer in what Ask returns, and may pass it on, ask
//     somebody else, wrap its Body to see what goes by, or give another one: Answer takes any
//     *http.Response, so a cache answers from its store in the same words. Or it says
//     something of its own: [Exchange.Fail], or WriteHeader and Write.
//   - It adds to whatever answer the client gets in [Exchange.Final].
//   - It waits as long as it likes before it asks: a gateway that has to start a
//     function first. [Exchange.Context] ends when the client leaves.
//   - It learns how it went from Answer's error, and from [Engine.Done], in which
//     [Exchange.Code] is what the client got.
//   - It asks servers on its own account, for a health check or to fill a store, by
//     [Engine.Transport].
//
// # The fast path
//
// Plain HTTP/1.1 exchanges need no goroutine: [Engine.Fast] decides for them on event
// loops, by package fastpath. What it cannot decide, or what turns out not to be
// plain, goes on in Handle, with everything that was read: an answer that is there
// already is what the first Ask returns. A container that looks at bodies, or tries
// again, has no Fast, or a Begin that returns nil for such requests.
//
// # What holds whatever a container does
//
//   - No input ends the process. A handler, a loop or a body that panics ends one
//     connection.
//   - net/http's own body has one reader, and none once its exchange is over.
//   - Where an answer overtakes its request's body, the connection ends with it, says
//     so, and lingers until the client has read it: what is left of a body is never a
//     request.
//   - Targets go on as they came, byte for byte, and are what decides and what is
//     logged. Trailers and informational answers go on.
//   - What a client says of itself is dropped, unless a trusted proxy says it.
//   - All addresses of a server's name are tried.
//
// Source: RFC 9110, RFC 9112, RFC 9113; nginx's ngx_http_proxy_module for what they
// leave open.
package forward
