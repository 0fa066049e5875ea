package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// View is what a request asks for.
type View struct {
	Format     string // text, wide, html or json
	Sort       string
	Descending bool
	Filter     *regexp.Regexp // on name, command line and group
	Fold       string         // none, parent or group
	Limit      int
}

// orders are what rows can be sorted by.
var orders = map[string]func(a, b *Row) int{
	"cpu":     func(a, b *Row) int { return cmp.Compare(a.cpu(), b.cpu()) },
	"memory":  func(a, b *Row) int { return cmp.Compare(a.Memory, b.Memory) },
	"pid":     func(a, b *Row) int { return cmp.Compare(a.PID, b.PID) },
	"name":    func(a, b *Row) int { return cmp.Compare(a.Name, b.Name) },
	"group":   func(a, b *Row) int { return cmp.Compare(a.Group, b.Group) },
	"threads": func(a, b *Row) int { return cmp.Compare(a.Threads, b.Threads) },
	"started": func(a, b *Row) int { return a.Started.Compare(b.Started.Time) },
	"read":    func(a, b *Row) int { return compare(a.Read, b.Read) },
	"written": func(a, b *Row) int { return compare(a.Wrote, b.Wrote) },
	"files":   func(a, b *Row) int { return compare(a.Files, b.Files) },
}

// compare orders what may be refused: that is less than nothing.
func compare[N uint64 | int](a, b *N) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Compare(*a, *b)
}

// Bounds of what may be asked for.
const (
	maxFilter = 256
	maxLimit  = 10000
)

var (
	formats = []string{"text", "wide", "html", "json"}
	folds   = []string{"none", "parent", "group"}
)

// parseView reads a query. Its error names what is wrong and what would do.
func parseView(q url.Values, format string) (View, error) {
	v := View{Format: format, Sort: "cpu", Fold: "none", Limit: 1000}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		value := q.Get(name)
		var err error
		switch name {
		case "format":
			v.Format, err = oneOf(value, formats)
		case "sort":
			v.Sort, err = oneOf(value, slices.Sorted(maps.Keys(orders)))
		case "order":
			_, err = oneOf(value, []string{"asc", "desc"})
		case "fold":
			v.Fold, err = oneOf(value, folds)
		case "filter":
			if len(value) > maxFilter {
				err = fmt.Errorf("longer than %d bytes", maxFilter)
			} else {
				v.Filter, err = regexp.Compile("(?i)" + value)
			}
		case "limit":
			v.Limit, err = strconv.Atoi(value)
			if err != nil || v.Limit < 1 || v.Limit > maxLimit {
				err = fmt.Errorf("not a number from 1 to %d", maxLimit)
			}
		case "refresh": // the page's own
		default:
			err = fmt.Errorf("not a parameter: there are format, sort, order, filter, fold, limit and refresh")
		}
		if err != nil {
			return View{}, fmt.Errorf("%s=%s: %w", clip(visible(name), 64), clip(visible(value), maxFilter), err)
		}
	}
	switch v.Sort {
	case "pid", "name", "group", "started":
		v.Descending = q.Get("order") == "desc"
	default:
		v.Descending = q.Get("order") != "asc"
	}
	return v, nil
}

func oneOf(value string, list []string) (string, error) {
	if !slices.Contains(list, value) {
		return "", fmt.Errorf("not one of %s", strings.Join(list, ", "))
	}
	return value, nil
}

// Table is what a view shows of a snapshot.
type Table struct {
	Rows   []*Row
	Total  Row // of all rows that the filter lets through, also those beyond the limit
	Beyond int // rows that the limit leaves out
}

// of applies a view to a snapshot, which stays as it is.
func (v View) of(snap *Snapshot) Table {
	rows := make([]*Row, 0, len(snap.Rows))
	for _, r := range snap.Rows {
		if v.Filter == nil || v.Filter.MatchString(r.Name) || v.Filter.MatchString(r.Command) || v.Filter.MatchString(r.Group) {
			rows = append(rows, r)
		}
	}
	t := Table{Total: total(rows)}
	if v.Fold != "none" {
		rows = folded(rows, v.Fold)
	}
	sortedBy(rows, v.Sort, v.Descending)
	if len(rows) > v.Limit {
		t.Beyond = len(rows) - v.Limit
		rows = rows[:v.Limit]
	}
	t.Rows = rows
	return t
}

func total(rows []*Row) Row {
	var sum Row
	for i, r := range rows {
		if i == 0 {
			sum = Row{
				CPU: new(percent), Children: new(percent), Read: new(uint64), Wrote: new(uint64), Files: new(int),
			}
		}
		sum.add(r)
	}
	return sum
}

// folded makes one row of a process and all that descend from it, within its container, or of a group.
func folded(rows []*Row, by string) []*Row {
	byPID := make(map[int]*Row, len(rows))
	for _, r := range rows {
		byPID[r.PID] = r
	}
	heads := map[string]*Row{} // of groups: the process with the lowest PID, since rows are in that order
	into := make(map[*Row]*Row)
	var list []*Row
	for _, r := range rows {
		head := r
		if by == "group" {
			if heads[r.Group] == nil {
				heads[r.Group] = r
			}
			head = heads[r.Group]
		} else {
			for n := 0; n < len(rows); n++ {
				up := byPID[head.Parent]
				// An orphan goes to PID 1, which in a pod is another container's.
				if up == nil || up == head || up.Container != head.Container {
					break
				}
				head = up
			}
		}
		if into[head] == nil {
			one := *head
			into[head] = &one
			list = append(list, &one)
		}
		if r != head {
			into[head].add(r)
		}
	}
	return list
}
