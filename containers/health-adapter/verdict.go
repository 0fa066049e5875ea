package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// verdict says whether a value means yes, which is nil, by the type of its column. Only what is known to be a yes is one:
// a value that nobody has thought of is seen when the check is written, and not in an outage. Zero is no in any spelling
// and any type, as in the server's own conditions.
func verdict(kind string, value *string) error {
	if value == nil || *value == "" {
		return errFalse
	}
	switch kind = strings.TrimPrefix(kind, "UNSIGNED "); kind {
	case "BIT":
		return truthOf(strings.Trim(*value, "\x00") != "")
	case "DATE", "DATETIME", "TIMESTAMP", "TIME":
		if strings.ContainsFunc(*value, func(r rune) bool { return !strings.ContainsRune("0123456789-:. ", r) }) {
			return errUnclear
		}
		return truthOf(strings.ContainsAny(*value, "123456789"))
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE", "YEAR",
		"CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM", "SET", "JSON",
		"BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB": // what some servers make of an expression
		return said(strings.ToLower(strings.Trim(*value, " \t\r\n")))
	}
	return errUnclear
}

// What texts say yes, and what no: MySQL's and MariaDB's own words for their switches and states, Galera's, and those of
// people who write checks.
var (
	yeses = []string{"on", "yes", "y", "true", "t", "ok", "up", "live", "alive", "ready", "healthy", "online", "active", "enabled", "primary", "synced"}
	noes  = []string{"", "off", "no", "n", "false", "f", "null", "down", "dead", "offline", "disabled", "error"}
)

func said(text string) error {
	if strings.Trim(text, "0123456789+-.e") == "" {
		n, err := strconv.ParseFloat(text, 64)
		switch {
		case err == nil && !math.IsInf(n, 0):
			return truthOf(n != 0)
		case !strings.ContainsAny(text, "123456789") && strings.Contains(text, "0"):
			return errFalse
		}
	}
	switch {
	case slices.Contains(yeses, text):
		return nil
	case slices.Contains(noes, text):
		return errFalse
	}
	return errUnclear
}

func truthOf(yes bool) error {
	if yes {
		return nil
	}
	return errFalse
}
