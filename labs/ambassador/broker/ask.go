package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"distlab/lab/check"

	"github.com/gomodule/redigo/redis"
)

// status is what a claim reads of an ambassador's /status.
type status struct {
	Services []struct {
		Ready     bool
		From      string
		Version   string
		Age       float64 `json:"age_seconds"`
		Stale     bool
		Doubt     string
		Garbled   map[string]string
		Instances []struct {
			ID, State, Why string
			Connections    int
		}
	}
}

// states are the instances that the ambassador of a pod has, with their states.
func (s status) states() string {
	var list []string
	for _, in := range s.Services[0].Instances {
		list = append(list, in.ID+" "+in.State)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func told(m *check.M, pod string) status {
	var s status
	m.JSON(pod, adminPort, "/status", &s)
	m.Need(len(s.Services) == 1, "%d services in the status", len(s.Services))
	return s
}

// is waits for exactly these states in staging.
func is(states ...string) func(m *check.M) error {
	want := strings.Join(states, ", ")
	return func(m *check.M) error {
		if s := told(m, staging); s.states() != want || s.Services[0].Stale {
			return fmt.Errorf("%s, not %s; %s", s.states(), want, s.Services[0].Doubt)
		}
		return nil
	}
}

// well waits until staging has both of its instances: what an earlier claim did is over.
func well(m *check.M) {
	m.Await(patience, "both instances of staging", is("staging-a up", "staging-b up"))
}

// door is where staging's app connects to, as this machine sees it. It is asked for once: the engine takes longer than Redis.
func door(m *check.M) string { return m.Address(staging, redisPort) }

// dial is a new connection of an app's. The time is there so that what hangs is seen to.
func dial(m *check.M, at string, limit time.Duration) (redis.Conn, error) {
	return redis.DialContext(m.Context(), "tcp", at,
		redis.DialConnectTimeout(limit), redis.DialReadTimeout(limit), redis.DialWriteTimeout(limit))
}

// met is who answers on a new connection.
func met(m *check.M, at string) (string, error) {
	c, err := dial(m, at, 3*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return name(c)
}

// name is who answers: each Redis was given one that nothing else depends on.
func name(c redis.Conn) (string, error) {
	fields, err := redis.Strings(c.Do("CONFIG", "GET", "syslog-ident"))
	if err == nil && len(fields) != 2 {
		err = fmt.Errorf("%q", fields)
	}
	if err != nil {
		return "", err
	}
	return fields[1], nil
}

// meets notes whom so many new connections in staging meet.
func meets(m *check.M, as *check.Tally, n int, allowed ...string) {
	at := door(m)
	for range n {
		who, err := met(m, at)
		as.Note(err == nil && slices.Contains(allowed, who), "met %q, %v", who, err)
	}
}

// only is that a new connection in staging meets one of these; a failure is noted, for none is allowed at any time.
func only(m *check.M, as *check.Tally, allowed ...string) func(m *check.M) error {
	at := door(m)
	return func(m *check.M) error {
		who, err := met(m, at)
		as.Note(err == nil, "met %q, %v", who, err)
		if !slices.Contains(allowed, who) {
			return fmt.Errorf("met %q, %v", who, err)
		}
		return nil
	}
}

// etcdctl asks the registry.
func etcdctl(m *check.M, args ...string) string {
	return strings.TrimSpace(m.Exec(registry, append([]string{"etcdctl"}, args...)...))
}

// keys are what the registry has.
func keys(m *check.M) string {
	return strings.Join(strings.Fields(etcdctl(m, "get", "--prefix", "--keys-only", "/services/")), " ")
}

// put overwrites a registration, or adds one that nobody keeps, and takes it out again.
func put(m *check.M, id, value string) *check.Fault {
	key := prefix + id
	return m.Run(registry, "put "+id, []string{"etcdctl", "put", key, value}, []string{"etcdctl", "del", key},
		func(m *check.M) string { return etcdctl(m, "get", key) })
}
