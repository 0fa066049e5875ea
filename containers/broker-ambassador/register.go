package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/etcd"
)

var registerCommand = daemon.Command{
	Name:    "register",
	Summary: "keep an instance in etcd, bound to a lease, until SIGTERM: register -service redis -id redis-1 -address redis-1:6379 -label env=staging",
	Run:     register,
}

var registeredCommand = daemon.Command{
	Name:    "registered",
	Summary: "exit 0 if an instance is in etcd as these arguments would register it",
	Run: func(ctx context.Context, args []string, _, stderr io.Writer) int {
		r, err := parseRegistration(args, stderr)
		if err != nil {
			return usage(stderr, err)
		}
		if err := r.see(ctx); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		return 0
	},
}

// registration is what register keeps.
type registration struct {
	client     *etcd.Client
	key, value string
	ttl        time.Duration
	say        func(format string, args ...any)
}

// labels is a flag that may come several times.
type labels map[string]string

func (l labels) String() string { return Selector(l).String() }

func (l labels) Set(text string) error {
	k, v, ok := strings.Cut(text, "=")
	if !ok || k == "" {
		return errors.New("not KEY=VALUE")
	}
	l[k] = v
	return nil
}

var errAsked = errors.New("asked for help")

func parseRegistration(args []string, stderr io.Writer) (*registration, error) {
	in := Instance{Labels: labels{}}
	fs := flag.NewFlagSet("register", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	endpoints := fs.String("etcd", "http://etcd:2379", "etcd's addresses, separated by commas")
	prefix := fs.String("prefix", "/services/", "what the key begins with")
	service := fs.String("service", "", "the service")
	fs.StringVar(&in.ID, "id", "", "the instance, among those of the service")
	fs.StringVar(&in.Address, "address", "", "host:port")
	fs.Var(labels(in.Labels), "label", "KEY=VALUE; may come several times")
	fs.IntVar(&in.Weight, "weight", 0, "its weight among the instances of the service")
	ttl := fs.Duration("ttl", 10*time.Second, "how long the registration outlives this program")
	timeout := fs.Duration("timeout", 2*time.Second, "how long etcd may take for an answer")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fs.PrintDefaults()
			err = errAsked
		}
		return nil, err
	}
	list := strings.Split(*endpoints, ",")
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", fs.Arg(0))
	case !plain(*service) || strings.Contains(*service, "/"):
		return nil, errors.New("-service is missing, or has other than printable characters")
	case *prefix == "":
		return nil, errors.New("-prefix is empty")
	case *ttl < time.Second || *timeout <= 0:
		return nil, errors.New("-ttl is at least 1s, and -timeout more than nothing")
	}
	if err := errors.Join(etcd.CheckEndpoints(list), in.check()); err != nil {
		return nil, err
	}
	text, err := json.Marshal(struct {
		Address string            `json:"address"`
		Labels  map[string]string `json:"labels,omitempty"`
		Weight  int               `json:"weight,omitempty"`
	}{in.Address, in.Labels, in.Weight})
	return &registration{
		client: &etcd.Client{Endpoints: list, Timeout: *timeout, Most: mostAnswer},
		key:    *prefix + *service + "/" + in.ID, value: string(text), ttl: *ttl,
		say: func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) },
	}, err
}

func usage(stderr io.Writer, err error) int {
	if errors.Is(err, errAsked) {
		return 0
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return 2
}

func register(ctx context.Context, args []string, _, stderr io.Writer) int {
	r, err := parseRegistration(args, stderr)
	if err != nil {
		return usage(stderr, err)
	}
	if err := r.keep(ctx); err != nil {
		r.say("%s: not taken back, and gone after %v: %v", r.key, r.ttl, err)
		return 1
	}
	return 0
}

// keep registers, again whenever etcd has lost it, and takes it back at the end.
func (r *registration) keep(ctx context.Context) error {
	lease, trouble := "", ""
	for {
		next, err := r.renew(ctx, lease)
		if ctx.Err() != nil && next == "" {
			next = lease // the last one that was had: it must not outlive us
		}
		lease = next
		if ctx.Err() != nil {
			break
		}
		if why := fmt.Sprint(err); why != trouble { // a line for each change, not for each try
			if err != nil {
				r.say("%s: not kept: %v", r.key, err)
			} else {
				r.say("%s: kept by lease %s", r.key, lease)
			}
			trouble = why
		}
		pause := r.ttl / 3
		if err != nil {
			pause = min(pause, 500*time.Millisecond)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	if lease == "" {
		return nil
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.client.Timeout)
	defer cancel()
	if err := r.client.Revoke(leaving, lease); err != nil && !errors.Is(err, etcd.ErrNoLease) {
		return err
	}
	r.say("%s: taken back", r.key)
	return nil
}

// renew prolongs the lease, and makes another with the key where etcd has not both. It returns the lease to go on with,
// which an etcd that does not answer may well still have.
func (r *registration) renew(ctx context.Context, lease string) (string, error) {
	if lease != "" {
		err := r.client.Keep(ctx, lease)
		if err != nil && !errors.Is(err, etcd.ErrNoLease) {
			return lease, err
		}
		if err == nil && r.see(ctx) == nil {
			return lease, nil
		}
		if err != nil {
			lease = ""
		}
	}
	if lease == "" {
		var err error
		if lease, err = r.client.Grant(ctx, r.ttl); err != nil {
			return "", err
		}
	}
	return lease, r.client.Put(ctx, r.key, r.value, lease)
}

// see says whether etcd has it as it should be.
func (r *registration) see(ctx context.Context) error {
	kvs, _, err := r.client.Range(ctx, r.key)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		if string(kv.Key) == r.key && string(kv.Value) == r.value {
			return nil
		}
	}
	return fmt.Errorf("%s: not registered", r.key)
}
