// Git-sync makes a folder follow a git repository: each commit is checked out beside the last one, checked, and
// published by renaming one symbolic link.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"distlab/containers/internal/daemon"
	"distlab/containers/internal/env"
)

type config struct {
	Repo  repoURL `env:"REPO" help:"the remote repository: http://, https:// or ssh://, without a password in it"`
	Ref   string  `env:"REF" default:"HEAD" help:"what to follow: a branch, a tag, HEAD, a full name like refs/heads/main, or a commit's full hash"`
	Depth int     `env:"DEPTH" default:"1" min:"0" help:"commits of history to fetch; 0 is all of it, and lets a fetch bring only what is new, where 1 brings all files of each commit"`

	Root       string `env:"ROOT" default:"/git" help:"folder for the checkouts, on a volume; what else lies there is left alone"`
	Link       string `env:"LINK" default:"live" help:"the symbolic link to publish by; a relative path is one in ROOT"`
	StagedLink string `env:"STAGED_LINK" default:"" help:"a link to the commit that is being checked, for an app that serves it aside"`

	Period      time.Duration `env:"PERIOD" default:"10s" min:"10ms" help:"time between looks at the remote"`
	SyncTimeout time.Duration `env:"SYNC_TIMEOUT" default:"2m" min:"100ms" help:"time for a look, a fetch and a checkout together"`
	KeepFor     time.Duration `env:"KEEP_FOR" default:"1m" help:"how long a replaced checkout stays, for readers that are not through with it"`
	Once        bool          `env:"ONCE" default:"false" help:"sync once and exit: 0 if the ref is published then, else 1"`

	Submodules string    `env:"SUBMODULES" default:"refuse" oneof:"refuse|ignore" help:"what to do with a commit that has submodules; ignored ones are empty folders"`
	MaxFetch   env.Bytes `env:"MAX_FETCH" default:"1GiB" min:"1KiB" help:"most that a fetch may bring"`
	MaxFile    env.Bytes `env:"MAX_FILE" default:"100MiB" min:"1KiB" help:"largest file of a commit; one may have to fit into memory"`
	MaxTree    env.Bytes `env:"MAX_TREE" default:"4GiB" min:"1KiB" help:"most that all files of a commit may be"`
	MaxFiles   int       `env:"MAX_FILES" default:"100000" min:"1" help:"most files, folders and links of a commit"`

	credentials
	checks
	hooks

	ListenAddr env.Addr `env:"LISTEN_ADDR" default:":8080" help:"address to take POST /webhook on"`
	Token      string   `env:"WEBHOOK_TOKEN" default:"" secret:"true" help:"who calls the webhook must know it; without one nobody may"`
	daemon.Config
}

type credentials struct {
	Username     string `env:"USERNAME" default:"git" help:"user to log in as"`
	PasswordPath string `env:"PASSWORD_PATH" default:"" help:"file with the password or access token for HTTP, read again for each look"`
	CAPath       string `env:"CA_PATH" default:"" help:"PEM file of authorities to trust for HTTPS, read again for each look; the well-known ones without it"`
	KeyPath      string `env:"SSH_KEY_PATH" default:"" help:"file with the private key for SSH, read again for each look"`
	HostsPath    string `env:"SSH_KNOWN_HOSTS_PATH" default:"" help:"known_hosts file with the SSH server's key, read again for each look"`
}

type checks struct {
	CheckURL      string        `env:"CHECK_URL" default:"" help:"asked before a commit is published: 2xx is good; nothing is published without a good answer"`
	CheckCommand  string        `env:"CHECK_COMMAND" default:"" help:"run in the checkout before it is published, words separated by blanks, no shell: exit code 0 is good"`
	CheckTimeout  time.Duration `env:"CHECK_TIMEOUT" default:"30s" min:"10ms" help:"time for each of these checks; the URL is asked again until then"`
	HealthURL     string        `env:"HEALTH_URL" default:"" help:"asked after a commit is published: where it was 2xx before and is not any more, the link goes back"`
	HealthFor     time.Duration `env:"HEALTH_FOR" default:"10s" min:"10ms" help:"how long after publishing that is watched"`
	HealthTimeout time.Duration `env:"HEALTH_TIMEOUT" default:"3s" min:"10ms" help:"time for an answer"`
	HealthFails   int           `env:"HEALTH_FAILURES" default:"3" min:"1" help:"bad answers in a row that send the link back"`
}

type hooks struct {
	HookURL     string        `env:"HOOK_URL" default:"" help:"gets a POST with the header Gitsync-Hash after each change of the link, until it answers 2xx"`
	HookCommand string        `env:"HOOK_COMMAND" default:"" help:"run in the checkout after each change of the link, with GITSYNC_HASH, until its exit code is 0"`
	HookTimeout time.Duration `env:"HOOK_TIMEOUT" default:"30s" min:"10ms" help:"time for each call of a hook"`
	HookBackoff time.Duration `env:"HOOK_BACKOFF" default:"3s" min:"10ms" help:"pause before a hook that failed is called again"`
}

// syncer is the one that the settings speak of.
func (c config) syncer(p *daemon.Process, m *metrics) *Syncer {
	limits := Limits{Fetch: int64(c.MaxFetch), File: int64(c.MaxFile), Tree: int64(c.MaxTree), Files: c.MaxFiles}
	return &Syncer{
		Remote: &Remote{URL: c.Repo.URL, credentials: c.credentials, Limits: limits},
		Store:  &Store{Dir: c.Root + "/.git-sync/store", Limits: limits, Fetched: m.fetched},
		Site:   &Site{Root: c.Root, Link: c.Link, Staged: c.StagedLink, KeepFor: c.KeepFor},
		Tree:   Tree{Limits: limits, IgnoreSubmodules: c.Submodules == "ignore"},
		Ref:    c.Ref, Depth: c.Depth, Timeout: c.SyncTimeout, Period: c.Period,
		Check: Check{URL: c.CheckURL, Command: c.CheckCommand, Timeout: c.CheckTimeout},
		Health: Health{
			URL: c.HealthURL, For: c.HealthFor, Timeout: c.HealthTimeout, Failures: c.HealthFails,
		},
		Hooks: []*Hook{
			{Name: "exechook", Call: command(c.HookCommand, c.HookTimeout), Backoff: c.HookBackoff},
			{Name: "webhook", Call: post(c.HookURL, c.HookTimeout), Backoff: c.HookBackoff},
		},
		Log: p.Log, Metrics: m, Ready: p.Ready,
	}
}

func run(ctx context.Context, cfg config, p *daemon.Process) error {
	daemon.CollectWithin(daemon.Available().Memory)
	m := newMetrics(p.Metrics)
	s := cfg.syncer(p, m)
	if err := s.Open(); err != nil {
		return err
	}
	defer s.Close()
	m.watch(s)
	p.Status(func() any { return s.Status() })
	if cfg.Once {
		return s.Once(ctx)
	}
	ln, err := net.Listen("tcp", string(cfg.ListenAddr))
	if err != nil {
		return err
	}
	p.Log.Info("listening", "address", ln.Addr().String())
	web := &http.Server{
		Handler:           &Webhook{Token: cfg.Token, Called: s.Wake},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- p.Serve(ctx, ln, web) }()
	go func() { ended <- s.Run(ctx, p.Reload) }()
	first := <-ended
	cancel()
	return errors.Join(first, <-ended)
}

func main() {
	// Settings that contradict each other are as bad as those that cannot be read, and exit as these do.
	if len(os.Args) == 1 {
		var cfg config
		if err := env.Load(&cfg, os.LookupEnv); err == nil {
			if err := cfg.valid(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(2)
			}
		}
	}
	os.Exit(daemon.Main(daemon.Program[config]{
		Name: "git-sync",
		Summary: "Git-sync makes a folder follow a git repository: each commit is checked out beside the last one, checked, and " +
			"published by renaming one symbolic link.",
		Run: run,
	}, os.Args[1:]))
}
