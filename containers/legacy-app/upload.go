package main

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Bounds of one form: the rest of it is not files.
const (
	maxParts     = 100
	formOverhead = 1 << 20
)

func (a *App) uploadForm(w http.ResponseWriter, _ *http.Request) {
	a.page(w, "Upload", fmt.Sprintf(`<form method="post" enctype="multipart/form-data">
<p><input type="file" name="file" multiple> <input type="submit" value="Send"> (at most %s)</p>
</form>
`, a.Site.Settings().MaxUpload))
}

// Uploaded is one file of an answer to an upload.
type Uploaded struct {
	File
	Path string `json:"path"` // where to get it back
}

// upload takes the files of a form, or the body itself with its name in
// ?name=, and answers with what it got.
func (a *App) upload(w http.ResponseWriter, r *http.Request) {
	files, err := a.receive(w, r)
	switch {
	case errors.Is(err, errTooLarge):
		http.Error(w, fmt.Sprintf("larger than %s", a.Site.Settings().MaxUpload), http.StatusRequestEntityTooLarge)
	case errors.Is(err, errNoSpace):
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		writeJSON(w, map[string]any{"files": files})
	}
}

func (a *App) receive(w http.ResponseWriter, r *http.Request) ([]Uploaded, error) {
	limit := int64(a.Site.Settings().MaxUpload)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "multipart/form-data" {
		file, err := a.Files.Put(r.URL.Query().Get("name"), r.Body, limit)
		if err != nil {
			return nil, err
		}
		return []Uploaded{uploaded(file)}, nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxParts*limit+formOverhead)
	form, err := r.MultipartReader()
	if err != nil {
		return nil, err
	}
	files := []Uploaded{}
	for range maxParts {
		part, err := form.NextPart()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if part.FileName() == "" {
			continue // a plain field, read to its end by NextPart
		}
		file, err := a.Files.Put(part.FileName(), part, limit)
		if err != nil {
			return nil, err
		}
		files = append(files, uploaded(file))
	}
	return nil, fmt.Errorf("more than %d parts", maxParts)
}

func uploaded(f File) Uploaded { return Uploaded{f, "/files/" + url.PathEscape(f.Name)} }

// file gives a file back, never as something that a browser runs.
func (a *App) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	body, added, err := a.Files.Open(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment; filename="+strings.TrimSpace(name))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, name, added, body)
}
