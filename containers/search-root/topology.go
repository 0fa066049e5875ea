package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Topology are the addresses of each shard's replicas.
type Topology [][]string

const mostShards, mostReplicas = 1024, 16

// UnmarshalText reads "leaf-0:8080,leaf-7:8080 leaf-1:8080,leaf-0:8080".
func (t *Topology) UnmarshalText(text []byte) error {
	var shards [][]string
	for shard := range strings.FieldsSeq(string(text)) {
		var replicas []string
		for addr := range strings.SplitSeq(shard, ",") {
			host, port, err := net.SplitHostPort(addr)
			n, bad := strconv.ParseUint(port, 10, 16)
			if err != nil || host == "" || bad != nil || n == 0 || strings.ContainsAny(host, "/%@?#") {
				return fmt.Errorf("shard %d: %.60q is not host:port", len(shards), addr)
			}
			if slices.Contains(replicas, addr) {
				return fmt.Errorf("shard %d: %s is there twice", len(shards), addr)
			}
			replicas = append(replicas, addr)
		}
		if len(replicas) > mostReplicas {
			return fmt.Errorf("shard %d: more than %d replicas", len(shards), mostReplicas)
		}
		shards = append(shards, replicas)
	}
	switch {
	case len(shards) == 0:
		return errors.New("no shard")
	case len(shards) > mostShards:
		return fmt.Errorf("more than %d shards", mostShards)
	}
	*t = shards
	return nil
}

// SettingType names the type in the documentation.
func (*Topology) SettingType() (name, want string) {
	return "shards", "shards like a:8080,b:8080 c:8080,d:8080"
}

// Policy is what happens to an answer that is not whole.
type Policy string

// The policies.
const (
	Answer Policy = "answer"
	Refuse Policy = "refuse"
)
