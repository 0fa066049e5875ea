package main

import (
	"fmt"
	"html"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// The pages' content depends on the settings and the URL alone, so that two
// ways to one page can be compared byte by byte. (/ also shows the PID.)

const style = `body { font-family: "Times New Roman", serif; max-width: 50em; margin: 2em auto }
table { border-collapse: collapse } td, th { border: 1px solid; padding: .2em .6em }
`

// styleTime is when the shop last changed its looks.
var styleTime = time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)

func (a *App) style(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "style.css", styleTime, strings.NewReader(style))
}

// page writes one page. body is HTML, and already escaped.
func (a *App) page(w http.ResponseWriter, heading, body string) {
	title := html.EscapeString(a.Site.Settings().Title)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!DOCTYPE html>
<title>%s</title>
<link rel="stylesheet" href="/style.css">
<h1>%s</h1>
<p><a href="/">Home</a> <a href="/orders">Orders</a> <a href="/upload">Upload</a> <a href="/about">About</a></p>
<h2>%s</h2>
%s`, title, title, html.EscapeString(heading), body)
}

func (a *App) home(w http.ResponseWriter, _ *http.Request) {
	v := a.Version()
	a.page(w, "Home", fmt.Sprintf(`<p>%s</p>
<p>Process %d, up since %s, settings loaded %d times. <a href="/version">More</a></p>
`, html.EscapeString(v.Greeting), os.Getpid(), v.Started.UTC().Format(time.RFC1123), v.SettingsLoads))
}

func (a *App) about(w http.ResponseWriter, _ *http.Request) {
	a.page(w, "About us", `<p>We sell what we have. Orders are taken in person.</p>
<p>This site is best viewed on the computer that it runs on.</p>
`)
}

// oldAbout redirects the way that old software does: to an absolute address,
// with the only scheme that it knows.
func (a *App) oldAbout(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "http://"+r.Host+"/about", http.StatusMovedPermanently)
}

// status answers with the code asked for.
func (a *App) status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 {
		http.Error(w, "status: a code from 200 to 599", http.StatusBadRequest)
		return
	}
	w.WriteHeader(code)
	if code != http.StatusNoContent && code != http.StatusNotModified {
		fmt.Fprintln(w, code, http.StatusText(code))
	}
}

const (
	orderCount = 240
	orderPage  = 20
)

// Order is one line of the books. It is made up from its number.
type Order struct {
	ID       int    `json:"id"`
	Customer string `json:"customer"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Cents    int    `json:"cents"`
}

var (
	customers = []string{"Ada", "Barbara", "Edsger", "Grace", "Leslie", "Niklaus", "Radia"}
	items     = []string{"lamp", "kettle", "typewriter", "map of the moon", "rope, 10 m"}
)

func orderOf(id int) Order {
	x := mix(uint64(id))
	o := Order{
		ID:       id,
		Customer: customers[x%uint64(len(customers))],
		Item:     items[x>>16%uint64(len(items))],
		Quantity: int(x>>32%9) + 1,
	}
	o.Cents = o.Quantity * (int(x>>40%9000) + 100)
	return o
}

func (a *App) orders(w http.ResponseWriter, r *http.Request) {
	page, ok := number(w, r, "page", 1, 1, orderCount/orderPage)
	if !ok {
		return
	}
	var b strings.Builder
	b.WriteString("<table>\n<tr><th>No.<th>Customer<th>Item<th>Quantity<th>Price\n")
	for id := (page-1)*orderPage + 1; id <= page*orderPage; id++ {
		o := orderOf(id)
		fmt.Fprintf(&b, "<tr><td><a href=\"/orders/%d\">%d</a><td>%s<td>%s<td>%d<td>%d.%02d\n",
			o.ID, o.ID, o.Customer, o.Item, o.Quantity, o.Cents/100, o.Cents%100)
	}
	b.WriteString("</table>\n")
	a.page(w, fmt.Sprintf("Orders, page %d of %d", page, orderCount/orderPage), b.String())
}

func (a *App) order(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > orderCount {
		http.Error(w, "no such order", http.StatusNotFound)
		return
	}
	writeJSON(w, orderOf(id))
}

// number is a whole number of the query. If it is bad, the answer is written
// and ok is false.
func number(w http.ResponseWriter, r *http.Request, name string, def, low, high int) (n int, ok bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return def, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		http.Error(w, fmt.Sprintf("%s: a number from %d to %d", name, low, high), http.StatusBadRequest)
		return 0, false
	}
	return n, true
}
