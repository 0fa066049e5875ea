package main

import (
	"encoding/json"
	"fmt"
)

type object = map[string]any

// openAPI is the API's description, OpenAPI 3.1, made of the schema that is loaded.
func (a *API) openAPI() []byte {
	all := a.Sources.Load()
	properties, required := object{}, []string{}
	parameters := []any{
		parameter("limit", "records of a page", object{"type": "integer", "minimum": 1, "maximum": pageMax, "default": pageDefault}),
		parameter("cursor", "next of the page before", object{"type": "string"}),
		parameter("format", "as Accept says without it", object{"enum": []string{"json", "ndjson"}}),
	}
	for _, f := range all.Schema.Fields {
		kind, filters := property(f, a.Float)
		properties[f.Name] = kind
		required = append(required, f.Name)
		for _, op := range filters {
			parameters = append(parameters, parameter(f.Name+op, "a filter; empty: null", object{"type": "string"}))
		}
	}
	names := []string{}
	for _, s := range all.Sources {
		names = append(names, s.Name)
	}
	common := []any{
		parameter("source", "these and no others; may be there several times", object{"type": "array", "items": object{"enum": names}}),
		parameter("partial", "whether a part of the sources will do", object{"enum": []string{"allow", "forbid"}}),
	}
	title := all.Schema.Title
	if title == "" {
		title = "Records"
	}
	problem := object{
		"description": "an error",
		"content":     object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}},
	}
	get := func(says, schema string, streams bool, params ...any) object {
		content := object{"application/json": object{"schema": object{"$ref": "#/components/schemas/" + schema}}}
		if streams {
			content["application/x-ndjson"] = object{"schema": object{"oneOf": []any{
				object{"$ref": "#/components/schemas/Item"}, object{"$ref": "#/components/schemas/End"},
			}}}
		}
		return object{"get": object{"summary": says, "parameters": append(params, common...), "responses": object{
			"200": object{"description": says, "content": content}, "304": object{"description": "not changed"}, "default": problem,
		}}}
	}
	array := func(of string) object {
		return object{"type": "array", "items": object{"$ref": "#/components/schemas/" + of}}
	}
	text, boolean, number := object{"type": "string"}, object{"type": "boolean"}, object{"type": "integer"}
	states := []string{stateOK, stateMore, stateUnread, stateDown, stateIncomplete, stateRefused}
	doc := object{
		"openapi": "3.1.0",
		"info":    object{"title": title, "version": "1"},
		"paths": object{
			"/records": get("the records of all sources", "Page", true, parameters...),
			"/records/{key}": get("one record, and who has it", "Found", false, object{
				"name": "key", "in": "path", "required": true, "schema": text,
			}),
			"/problems": get("records that could not be read", "Problems", false, parameters[0]),
		},
		"components": object{"schemas": object{
			"Record": object{"type": "object", "properties": properties, "required": required, "additionalProperties": false},
			"Item": object{"type": "object", "required": []string{"source", "record"}, "properties": object{
				"source": text, "record": object{"$ref": "#/components/schemas/Record"},
			}},
			"Source": object{"type": "object", "required": []string{"name", "state"}, "properties": object{
				"name": text, "state": object{"enum": states}, "records": number, "rejected": number, "error": text,
			}},
			"Page": object{"type": "object", "required": []string{"items", "partial", "sources", "next"}, "properties": object{
				"items": array("Item"), "partial": boolean, "sources": array("Source"), "next": object{"type": []string{"string", "null"}},
			}},
			"End": object{"type": "object", "required": []string{"end"}, "properties": object{
				"end": object{"type": "object", "properties": object{"partial": boolean, "records": number, "sources": array("Source")}},
			}},
			"Found": object{"type": "object", "required": []string{"source", "record", "also", "conflict", "partial"}, "properties": object{
				"source": text, "record": object{"$ref": "#/components/schemas/Record"}, "also": object{"type": "array", "items": text},
				"conflict": boolean, "partial": boolean, "sources": array("Source"),
			}},
			"Bad": object{"type": "object", "required": []string{"source", "record", "reason"}, "properties": object{
				"source": text, "record": number, "line": number, "offset": number, "field": text, "reason": text, "detail": text, "raw": text,
			}},
			"Problems": object{"type": "object", "required": []string{"total", "problems", "sources"}, "properties": object{
				"total": number, "problems": array("Bad"), "partial": boolean, "sources": array("Source"),
			}},
			"Problem": object{"type": "object", "required": []string{"title", "status"}, "properties": object{
				"type": text, "title": text, "status": number, "detail": text, "instance": text,
			}},
		}},
	}
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // maps and texts
	}
	return append(body, '\n')
}

func parameter(name, says string, schema object) object {
	return object{"name": name, "in": "query", "description": says, "schema": schema}
}

// property is a field's JSON schema, and what can be asked of it.
func property(f Field, float bool) (schema object, filters []string) {
	kind, ranges := "string", []string{"", ".gte", ".lte"}
	schema = object{}
	switch f.Type {
	case "integer":
		kind = "integer"
		schema["format"] = "int64"
	case "boolean":
		kind, ranges = "boolean", ranges[:1]
	case "date":
		schema["format"] = "date"
	case "decimal":
		schema["pattern"] = fmt.Sprintf(`^-?\d+\.\d{%d}$`, f.Scale)
		if f.Scale == 0 {
			schema["pattern"] = `^-?\d+$`
		}
		if float {
			kind = "number"
			delete(schema, "pattern")
		}
	default:
		ranges = ranges[:1]
		if f.Max > 0 {
			schema["maxLength"] = f.Max
		}
	}
	schema["type"] = kind
	if !f.Required && f.Default == nil {
		schema["type"] = []string{kind, "null"}
	}
	if f.Says != "" {
		schema["description"] = f.Says
	}
	return schema, ranges
}
