// Package public has what the verbs give to programs with -o json: other programs, and a page in a browser, rely on the names of the
// fields, so these stay. What a verify, a test and a comparison give is in lab/check and lab/internal/report.
package public

import "distlab/lab/internal/compose"

// Lab is one of `list`.
type Lab struct {
	Lab      string   `json:"lab"`
	Title    string   `json:"title"`
	Pattern  string   `json:"pattern"`
	Says     string   `json:"says"`
	Claims   []string `json:"claims"`
	Variants []string `json:"variants"`  // that break it
	StandIns []string `json:"stand_ins"` // the program that people know in our container's place
}

// Stack is one of `status`.
type Stack struct {
	Lab       string    `json:"lab"`
	Instance  string    `json:"instance"`
	Variant   string    `json:"variant"`
	State     string    `json:"state"`
	Endpoints []Address `json:"endpoints"`
}

// Address is where a port of a running stack can be reached.
type Address struct {
	Service string `json:"service"`
	Port    int    `json:"port"`
	Address string `json:"address"`
	URL     string `json:"url"`
}

// Explained is what `explain` says of a lab.
type Explained struct {
	Lab       string     `json:"lab"`
	Title     string     `json:"title"`
	Pattern   string     `json:"pattern"`
	Says      string     `json:"says"`
	Endpoints []Endpoint `json:"endpoints"`
	Try       []Command  `json:"try"`
	compose.Graph
	Claims   []Claim   `json:"claims"`
	Variants []Variant `json:"variants"`
}

// Endpoint is an address that a person should open.
type Endpoint struct {
	Service string `json:"service"`
	Port    int    `json:"port"`
	URL     string `json:"url"` // {address} stands for where the port is published once the lab is up
	Says    string `json:"says"`
}

// Command is something to try.
type Command struct {
	Says string `json:"says"`
	Run  string `json:"run"`
}

// Claim is a sentence of a lab.
type Claim struct {
	ID   string `json:"id"`
	Says string `json:"says"`
}

// Variant breaks or keeps claims.
type Variant struct {
	Name   string   `json:"name"`
	Says   string   `json:"says"`
	Breaks []string `json:"breaks"`
	Keeps  []string `json:"keeps"`
}

// Image is one of `images`.
type Image struct {
	Image     string   `json:"image"`
	State     string   `json:"state"` // present, to build, to pull, substituted
	Use       string   `json:"use"`   // what runs in its place, when it is substituted
	Container string   `json:"container"`
	Variable  string   `json:"variable"`
	Recipe    string   `json:"recipe"`
	Labs      []string `json:"labs"`
	Detail    string   `json:"detail"`
}
