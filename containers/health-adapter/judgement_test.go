package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The judgement's one table of raw inputs: whatever cannot be read is not healthy, and a value that was not thought of is
// not yes.

// texts are values as the driver gives them; nil is NULL.
func texts(values ...any) []*string {
	row := make([]*string, len(values))
	for i, v := range values {
		if v != nil {
			text := fmt.Sprint(v)
			row[i] = &text
		}
	}
	return row
}

// Columns as servers name them: MySQL to 8.0.21 and MariaDB, MySQL after it, MariaDB's for all connections.
var (
	slave   = []string{"Slave_IO_State", "Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master"}
	renamed = []string{"Replica_IO_State", "Replica_IO_Running", "Replica_SQL_Running", "Seconds_Behind_Source", "Channel_Name"}
	allOf   = []string{"Connection_name", "Slave_SQL_State", "Slave_IO_State", "Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master"}
)

func TestJudgeReplication(t *testing.T) {
	const stopped, untold = "the replication has stopped", "the server does not tell how far it is behind"
	row := func(values ...any) [][]*string { return [][]*string{texts(values...)} }
	many := func(n int, bad []*string) [][]*string {
		rows := make([][]*string, n)
		for i := range rows {
			rows[i] = texts("", "Yes", "Yes", 1)
		}
		return append(rows, bad)
	}
	for _, tt := range []struct {
		name    string
		columns []string
		rows    [][]*string
		lag     time.Duration // where it is well
		want    string        // the reason; "": well
	}{
		{"no replica", slave, nil, -1, ""},
		{"in time", slave, row("Waiting for master to send event", "Yes", "Yes", 0), 0, ""},
		{"behind, within the limit", renamed, row("", "Yes", "Yes", 9, ""), 9 * time.Second, ""},
		{"at the limit", renamed, row("", "Yes", "Yes", 10, ""), 10 * time.Second, ""},
		{"beyond it", renamed, row("", "Yes", "Yes", 11, ""), 0, "the replica is 11s behind, more than 10s"},
		{"far beyond", slave, row("", "Yes", "Yes", "18446744073709551615"), 0, "the replica's lag is not a number"},
		{"very far", slave, row("", "Yes", "Yes", "9000000000000000000"), 0, "the replica is 1193046h28m16s behind, more than 10s"},

		{"MariaDB's named connection that cannot connect", allOf, row("src1", "Slave has read all relay log", "Connecting to master", "Connecting", "Yes", nil), 0, stopped},
		{"the same with a lag that was true once", allOf, row("src1", "", "Connecting to master", "Connecting", "Yes", 0), 0, stopped},
		{"preparing", allOf, row("src1", "", "", "Preparing", "Yes", 0), 0, stopped},
		{"the reading thread stopped, the log not yet worked off", renamed, row("", "No", "Yes", 3, "c1"), 0, stopped},
		{"the applying thread stopped by an error", renamed, row("", "Yes", "No", nil, "c1"), 0, stopped},
		{"both run and no lag is told", renamed, row("", "Yes", "Yes", nil, "c1"), 0, stopped},
		{"a NULL for a thread", renamed, row("", nil, "Yes", 0, "c1"), 0, stopped},
		{"an empty word for a thread", renamed, row("", "", "Yes", 0, "c1"), 0, stopped},
		{"a word that nobody knows", renamed, row("", "Yes, mostly", "Yes", 0, "c1"), 0, stopped},

		{"several, one of them broken", allOf, [][]*string{texts("", "", "", "Yes", "Yes", 0), texts("src1", "", "", "Connecting", "Yes", nil)}, 0, stopped},
		{"several, the first broken", allOf, [][]*string{texts("a", "", "", "No", "Yes", nil), texts("b", "", "", "Yes", "Yes", 0)}, 0, stopped},
		{"several, the worst counts", renamed, [][]*string{texts("", "Yes", "Yes", 1, "a"), texts("", "Yes", "Yes", 8, "b"), texts("", "Yes", "Yes", 2, "c")}, 8 * time.Second, ""},
		{"as many as are read", slave, many(maxChannels-1, texts("", "Yes", "No", nil)), 0, stopped},
		{"more than are read, the last broken", slave, many(maxChannels, texts("", "Yes", "No", nil)), 0, "the replica has more than 256 sources"},

		{"negative", slave, row("", "Yes", "Yes", -1), 0, "the replica's lag is not a number"},
		{"with a fraction", slave, row("", "Yes", "Yes", "0.5"), 0, "the replica's lag is not a number"},
		{"a word", slave, row("", "Yes", "Yes", "none"), 0, "the replica's lag is not a number"},
		{"empty", slave, row("", "Yes", "Yes", ""), 0, "the replica's lag is not a number"},
		{"without a lag", slave[:3], row("", "Yes", "Yes"), 0, untold},
		{"without the threads", slave[3:], row(0), 0, untold},
		{"without one of them", []string{"Slave_IO_Running", "Seconds_Behind_Master"}, row("Yes", 0), 0, untold},
		{"the lag by both names", append(slices.Clone(slave), "Seconds_Behind_Source"), row("", "Yes", "Yes", 0, 99), 0, untold},
		{"a row shorter than its head", slave, row("", "Yes", "Yes"), 0, untold},
		{"other columns", []string{"File", "Position"}, row("binlog.000001", 4), 0, untold},
		{"no result at all", nil, nil, 0, "the server does not show its replication"},
		{"names in small letters", []string{"slave_io_running", "slave_sql_running", "seconds_behind_master"}, row("yes", "YES", 3), 3 * time.Second, ""},
	} {
		found, err := (table{columns: tt.columns, values: tt.rows}).judge(10 * time.Second)
		switch {
		case tt.want != "":
			if err == nil || err.Error() != tt.want || !errors.As(err, new(lagError)) {
				t.Errorf("%s: %+v, %v; want %q", tt.name, found, err, tt.want)
			}
		case err != nil || found.Replica != (tt.lag >= 0) || found.Replica && found.Lag != tt.lag:
			t.Errorf("%s: %+v, %v; want %s", tt.name, found, err, tt.lag)
		}
	}
}

// FuzzJudge: a replica is well only if every channel of it says so in so many words.
func FuzzJudge(f *testing.F) {
	f.Add("Slave_IO_Running|Slave_SQL_Running|Seconds_Behind_Master", "Yes|Yes|3", uint8(1))
	f.Add("Slave_IO_Running|Slave_SQL_Running|Seconds_Behind_Master", "Connecting|Yes|NULL", uint8(2))
	f.Add("Replica_IO_Running|Replica_SQL_Running|Seconds_Behind_Source", "Yes|Yes|99999999999999999999", uint8(1))
	f.Add("", "", uint8(0))
	f.Fuzz(func(t *testing.T, head, body string, n uint8) {
		columns := strings.Split(head, "|")
		var row []*string
		for _, v := range strings.Split(body, "|") {
			if v == "NULL" {
				row = append(row, nil)
			} else {
				row = append(row, &v)
			}
		}
		values := make([][]*string, n)
		for i := range values {
			values[i] = row
		}
		const limit = 10 * time.Second
		found, err := (table{columns: columns, values: values}).judge(limit)
		if err != nil || n == 0 {
			return
		}
		yes, lag := 0, false
		for _, v := range row {
			if v == nil {
				continue
			}
			if strings.EqualFold(*v, "yes") {
				yes++
			}
			if seconds, err := strconv.Atoi(*v); err == nil && time.Duration(seconds)*time.Second == found.Lag {
				lag = true
			}
		}
		if yes < 2 || !lag || found.Lag > limit || !found.Replica {
			t.Errorf("%q, %q: %+v is well", head, body, found)
		}
	})
}

// TestVerdict: what a query's first value says, by the type of its column.
func TestVerdict(t *testing.T) {
	yes, no, unclear := error(nil), errFalse, errUnclear
	for _, tt := range []struct {
		kind  string
		value any // nil is NULL
		want  error
	}{
		{"INT", 1, yes},
		{"INT", 0, no},
		{"BIGINT", -1, yes},
		{"UNSIGNED BIGINT", "18446744073709551615", yes},
		{"TINYINT", "00", no},
		{"INT", nil, no},
		{"INT", "", no},
		{"INT", "one", unclear},
		{"YEAR", "0000", no},
		{"YEAR", 2026, yes},
		{"DECIMAL", "0.000000", no},
		{"DECIMAL", "-0.0", no},
		{"DECIMAL", "0.1", yes},
		{"DECIMAL", "1e999", unclear},
		{"DOUBLE", "-0", no},
		{"DOUBLE", "0e0", no},
		{"DOUBLE", "1e-05", yes},
		{"DOUBLE", "NaN", unclear},
		{"DOUBLE", "Inf", unclear},
		{"FLOAT", 0.5, yes},
		{"BIT", "\x00", no},
		{"BIT", "\x00\x00", no},
		{"BIT", "\x01", yes},
		{"BIT", "0", yes}, // the byte 0x30

		{"VARCHAR", "1", yes},
		{"VARCHAR", "0", no},
		{"VARCHAR", "0.0", no},
		{"VARCHAR", "-0", no},
		{"VARCHAR", "+1", yes},
		{"VARCHAR", " 0 ", no},
		{"VARCHAR", "ON", yes},
		{"VARCHAR", "OFF", no},
		{"ENUM", "Yes", yes},
		{"ENUM", "N", no},
		{"VARCHAR", "Synced", yes},
		{"VARCHAR", "Primary", yes},
		{"VARCHAR", "non-Primary", unclear},
		{"VARCHAR", "Donor/Desynced", unclear},
		{"VARCHAR", "ONLINE", yes},
		{"VARCHAR", "RECOVERING", unclear},
		{"VARCHAR", "live", yes},
		{"VARCHAR", "ok", yes},
		{"VARCHAR", "not ok", unclear},
		{"VARCHAR", "error", no},
		{"VARCHAR", "Connecting", unclear},
		{"VARCHAR", "wsrep_ready", unclear}, // SHOW STATUS LIKE: the first column is the name
		{"VARCHAR", " ", no},
		{"VARCHAR", ".", unclear},
		{"VARCHAR", "-", unclear},
		{"VARCHAR", "0.0.0", no},
		{"VARCHAR", "0x1", unclear},
		{"VARCHAR", "1_0", unclear},
		{"VARCHAR", "10.11.6-MariaDB", unclear},
		{"TEXT", "\x00", unclear},
		{"TEXT", "１", unclear},
		{"SET", "", no},
		{"JSON", "true", yes},
		{"JSON", "false", no},
		{"JSON", "null", no},
		{"JSON", "0", no},
		{"JSON", "{}", unclear},
		{"JSON", "[]", unclear},
		{"JSON", `"ok"`, unclear},
		{"BLOB", "1", yes},
		{"BLOB", "\x01", unclear},
		{"VARBINARY", "0", no},

		{"DATETIME", "2026-11-25 02:31:40.000000", yes},
		{"DATE", "0000-00-00", no},
		{"TIMESTAMP", "0000-00-00 00:00:00", no},
		{"DATE", "soon", unclear},
		{"TIME", "00:00:00", no},
		{"TIME", "-00:00:01", yes},

		{"GEOMETRY", "\x00\x00\x00\x00\x01\x01", unclear},
		{"VECTOR", "\x00\x00\x80\x3f", unclear},
		{"", "1", unclear},
		{"NULL", "1", unclear},
		{"A TYPE OF 2030", "1", unclear},
	} {
		if got := verdict(tt.kind, texts(tt.value)[0]); !errors.Is(got, tt.want) {
			t.Errorf("%s %q: %v, want %v", tt.kind, fmt.Sprint(tt.value), got, tt.want)
		}
	}
}

// FuzzVerdict: yes is a number that is not zero, a time that is not zero, a bit, or one of so many words.
func FuzzVerdict(f *testing.F) {
	for _, kind := range []string{"INT", "VARCHAR", "BIT", "DATE", "JSON", "GEOMETRY", ""} {
		for _, value := range []string{"1", "0", "ON", "-0.0e0", "\x00", "0000-00-00", "1e999"} {
			f.Add(kind, value)
		}
	}
	f.Fuzz(func(t *testing.T, kind, value string) {
		if verdict(kind, &value) != nil {
			return
		}
		plain := strings.ToLower(strings.TrimSpace(value))
		n, err := strconv.ParseFloat(plain, 64)
		switch {
		case err == nil && n != 0 && n-n == 0: // a finite number
		case slices.Contains(yeses, plain):
		case kind == "BIT" && strings.Trim(value, "\x00") != "":
		case strings.Contains("DATE DATETIME TIMESTAMP TIME", kind) && strings.ContainsAny(value, "123456789"):
		default:
			t.Errorf("%s %q is yes", kind, value)
		}
	})
}

// TestMaintenanceFile: a file that cannot be looked at may be there.
func TestMaintenanceFile(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"": false, there: true, dir: true, filepath.Join(dir, "none"): false, filepath.Join(dir, "none", "none"): false,
		filepath.Join(there, "below a file"): false, loop: true, filepath.Join(dir, strings.Repeat("x", 300)): true,
	} {
		if got := (&Maintenance{File: path}).On(); got != want {
			t.Errorf("%.60s: %t, want %t", path, got, want)
		}
	}
}

// TestFindingOfTheDead: a lag that was true once is not shown of a server that is down.
func TestFindingOfTheDead(t *testing.T) {
	well, broken := Finding{Replica: true, Lag: 3 * time.Second}, errors.New("no answer")
	r := Report{}.next(well, nil, 1, 2)
	r.At = time.Now()
	if r = r.next(Finding{}, broken, 1, 2); !r.Up || r.Finding != well {
		t.Errorf("failed once: %+v", r)
	}
	if r = r.next(Finding{}, broken, 1, 2); r.Up || r.Finding != (Finding{}) {
		t.Errorf("down: %+v", r)
	}
	far := Finding{Replica: true, Lag: time.Hour}
	if r = r.next(far, lagError("behind"), 1, 2); r.Finding != far {
		t.Errorf("far behind: %+v", r)
	}
}

// TestMeanings: every reason that is told of a server's error is one of ours, and tells the number.
func TestMeanings(t *testing.T) {
	for _, n := range append(slices.Collect(maps.Keys(meanings)), 4711) {
		f := newFake(t, (&minimal{login: n}).serve)
		r := patiently(t, &Server{Addr: f.addr, User: "health"}, Question{Query: "SELECT 1"})
		if want := fmt.Sprintf("(error %d)", n); r.Up || !strings.HasSuffix(r.Reason, want) || strings.Contains(r.Reason, "10.9.8.7") {
			t.Errorf("%d: %+v", n, r)
		}
	}
}
