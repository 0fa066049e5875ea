package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"

	"distlab/lab/check"
	"distlab/lab/internal/compose"
	"distlab/lab/internal/hint"
	"distlab/lab/internal/images"
	"distlab/lab/internal/stack"
)

// doctor is what several looks share. The first looks fill it in, the later ones read it.
type doctor struct {
	labs    []check.Lab
	root    string // "" when there is no clone
	rootErr error

	engine    *stack.Engine // nil when it does not answer
	goRelease string        // go1.26.0
	goErr     error

	infoOnce  sync.Once
	info      system.Info
	infoErr   error
	needsOnce sync.Once
	needed    []images.Need
	needsErr  error
}

func remedy(err error) string { return hint.Of(err) }

// connect does not use the app's: that one puts right what ended commands left, which is to be reported here.
func (d *doctor) connect(ctx context.Context) []finding {
	const id = "engine"
	ctx, cancel := context.WithTimeout(ctx, engineWait)
	defer cancel()
	e, err := stack.Connect(ctx)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return []finding{bad(id, cmp.Or(remedy(err), "restart it: "+hint.Service("restart")),
			"no answer from Docker at %s within %v", cmp.Or(os.Getenv(client.EnvOverrideHost), client.DefaultDockerHost), engineWait)}
	case err != nil:
		return []finding{bad(id, remedy(err), "%v", err)}
	}
	d.engine = e
	return append([]finding{good(id, "Docker %s at %s", e.Version, e.Host)}, d.architecture(e)...)
}

// oldestAPI is Docker Engine 20.10's.
const oldestAPI = "1.41"

func (d *doctor) api(context.Context) []finding {
	const id = "engine-api"
	if versions.LessThan(d.engine.APIVersion, oldestAPI) {
		return []finding{bad(id, "install Docker Engine 20.10 or newer", "%s is older than %s", d.engine.APIVersion, oldestAPI)}
	}
	return []finding{good(id, "%s; %s is enough", d.engine.APIVersion, oldestAPI)}
}

func (d *doctor) architecture(e *stack.Engine) []finding {
	const id = "architecture"
	if e.Arch == runtime.GOARCH {
		return []finding{good(id, "%s", e.Arch)}
	}
	return []finding{good(id, "the engine's is %s, this machine's %s: binaries are compiled for the engine's", e.Arch, runtime.GOARCH)}
}

// local says whether the engine runs on this machine, as far as its address tells.
func (d *doctor) local() bool {
	return d.engine != nil && strings.HasPrefix(d.engine.Host, "unix://")
}

func (d *doctor) information(ctx context.Context) (system.Info, error) {
	if d.engine == nil {
		return system.Info{}, errors.New("no engine")
	}
	d.infoOnce.Do(func() {
		res, err := d.engine.Docker.Info(ctx, client.InfoOptions{})
		d.info, d.infoErr = res.Info, err
	})
	return d.info, d.infoErr
}

// limits looks whether the kernel holds containers to their memory, CPUs and processes. Claims about overload mean
// little where it does not, and an engine refuses containers with a CPU limit where the kernel has none.
func (d *doctor) limits(ctx context.Context) []finding {
	const id = "limits"
	const how = "the kernel or its command line lacks a cgroup controller (cgroup_enable=memory swapaccount=1); see: docker info"
	info, err := d.information(ctx)
	if err != nil {
		return []finding{warn(id, "", "%v", err)}
	}
	if info.OSType != "" && info.OSType != "linux" {
		return []finding{bad(id, "switch Docker to Linux containers", "this Docker runs %s containers", info.OSType)}
	}
	if !info.CPUCfsQuota {
		return []finding{bad(id, how, "no limits of CPU, and the engine refuses containers that have one")}
	}
	var lacking []string
	for what, have := range map[string]bool{"memory": info.MemoryLimit, "processes": info.PidsLimit} {
		if !have {
			lacking = append(lacking, what)
		}
	}
	slices.Sort(lacking)
	if len(lacking) > 0 {
		return []finding{warn(id, how, "no limits of %s: containers run without", strings.Join(lacking, " and "))}
	}
	return []finding{good(id, "memory, CPU and processes, by cgroup v%s", cmp.Or(info.CgroupVersion, "1"))}
}

func (d *doctor) needs(ctx context.Context) ([]images.Need, error) {
	if d.engine == nil {
		return nil, errors.New("no engine")
	}
	if d.rootErr != nil {
		return nil, d.rootErr
	}
	d.needsOnce.Do(func() {
		a := &app{}
		d.needed, d.needsErr = a.needs(ctx, &images.Images{Root: d.root, Docker: d.engine.Docker}, d.labs, false)
	})
	return d.needed, d.needsErr
}

// toBuild is how many images of ours are missing or older than their sources; known is false when nobody could look.
func (d *doctor) toBuild(ctx context.Context) (n int, known bool) {
	needs, err := d.needs(ctx)
	return inState(needs, images.ToBuild), err == nil
}

func inState(needs []images.Need, s images.State) int {
	n := 0
	for _, x := range needs {
		if x.State == s {
			n++
		}
	}
	return n
}

// images counts them, and asks the registry about one that a lab would pull.
func (d *doctor) images(ctx context.Context) []finding {
	needs, err := d.needs(ctx)
	if err != nil {
		f := bad("images", remedy(err), "%v", err)
		if d.rootErr != nil {
			return nil // said already
		}
		return append([]finding{f}, d.registry(ctx, nil))
	}
	var parts []string
	for _, s := range []images.State{images.Present, images.Substituted, images.ToBuild, images.ToPull} {
		if n := inState(needs, s); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return []finding{good("images", "%s", strings.Join(parts, ", ")), d.registry(ctx, needs)}
}

// registry asks through the engine, which has proxies and mirrors of its own: for the digest of an image, without pulling it.
func (d *doctor) registry(ctx context.Context, needs []images.Need) finding {
	const id = "registry"
	ref, lost := "hello-world", []string{}
	for _, n := range needs {
		if n.Container == "" && n.State == images.ToPull {
			ref = n.Ref
			if n.Recipe == "" {
				lost = append(lost, n.Ref)
			}
		}
	}
	_, err := d.engine.Docker.DistributionInspect(ctx, ref, client.DistributionInspectOptions{})
	if err == nil || answered(err) {
		return good(id, "answers")
	}
	why := strings.TrimPrefix(err.Error(), "Error response from daemon: ")
	if ctx.Err() != nil {
		why = fmt.Sprintf("nothing within %v", lookWait)
	}
	if len(lost) > 0 {
		return bad(id, "bring them along from a machine that has one: lab images save there, lab images load here",
			"no answer: %s\nthese cannot be had: %s", why, strings.Join(lost, ", "))
	}
	if made := toMake(needs); len(made) > 0 {
		if lacks := d.makers(); lacks != "" {
			return bad(id, "sudo scripts/setup mmdebstrap", "no answer: %s\nand %s, to make from Debian's packages: %s",
				why, lacks, strings.Join(made, ", "))
		}
	}
	return warn(id, "nothing to do: images of others are made from Debian packages (lab images)", "no answer: %s", why)
}

// toMake are the images that would be made from Debian's packages without a registry, with the labs that wait for them.
func toMake(needs []images.Need) (list []string) {
	for _, n := range needs {
		if n.State == images.ToPull && n.Recipe != "" {
			list = append(list, fmt.Sprintf("%s (%s)", n.Ref, strings.Join(n.Labs, ", ")))
		}
	}
	return list
}

// makers says what of what makes those images is not here, or "".
func (d *doctor) makers() string {
	path := append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") // as scripts/debian-image looks
	for _, name := range []string{"docker", "mmdebstrap"} {
		if !slices.ContainsFunc(path, func(dir string) bool {
			info, err := os.Stat(filepath.Join(dir, name))
			return err == nil && info.Mode()&0o111 != 0
		}) {
			return name + " is not here"
		}
	}
	return ""
}

// answered says whether a registry refused, rather than being out of reach. Engines differ in the type of the error.
func answered(err error) bool {
	text := strings.ToLower(err.Error())
	return cerrdefs.IsNotFound(err) || cerrdefs.IsUnauthorized(err) || cerrdefs.IsPermissionDenied(err) ||
		strings.Contains(text, "manifest unknown") || strings.Contains(text, "unauthorized") || strings.Contains(text, "toomanyrequests")
}

// leftovers are reported, not removed. The trial of subnets comes after, so that it is not taken for one.
func (d *doctor) leftovers(ctx context.Context) []finding {
	const id = "leftovers"
	left, err := d.engine.Leftovers(ctx)
	var f finding
	switch {
	case err != nil:
		f = warn(id, remedy(err), "%v", err)
	case len(left) == 0:
		f = good(id, "none")
	default:
		var lines []string
		for _, l := range left {
			lines = append(lines, l.Project+": "+l.Why)
		}
		f = warn(id, "lab gc, or any other command, removes them", "%s", strings.Join(lines, "\n"))
	}
	return []finding{f, d.subnets(ctx)}
}

// trial is the project of the network with which subnets are tried. It looks like a stack's, so that the next
// command removes it, were this one killed in between.
const trial = compose.Prefix + "doctor"

// subnets tries to make a network: the engine's address pools, some 30 networks by default, are configured in many ways.
func (d *doctor) subnets(ctx context.Context) finding {
	const id = "subnets"
	const room = "remove networks that nobody uses: lab gc, docker network prune\nor give the engine more: default-address-pools in /etc/docker/daemon.json"
	lock, err := d.engine.Lock(ctx, trial, "doctor")
	if err != nil {
		return warn(id, "", "not tried: %v", err)
	}
	defer lock.Release()
	docker := d.engine.Docker
	name := fmt.Sprintf("%s-%d", trial, os.Getpid())
	made, err := docker.NetworkCreate(ctx, name, client.NetworkCreateOptions{Labels: map[string]string{
		api.ProjectLabel: trial, compose.LabelLab: "doctor", compose.LabelOwner: string(stack.Self()),
	}})
	if err != nil {
		err = stack.Explain(d.engine.Host, err)
		return bad(id, cmp.Or(remedy(err), room), "cannot make a network: %v", err)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookWait)
	defer cancel()
	if _, err := docker.NetworkRemove(clean, made.ID, client.NetworkRemoveOptions{}); err != nil {
		return warn(id, "docker network rm "+name, "the network %s of this trial stays: %v", name, err)
	}
	all, err := docker.NetworkList(clean, client.NetworkListOptions{})
	if err != nil {
		return good(id, "a network can be made")
	}
	return good(id, "a network can be made; there are %d", len(all.Items))
}
