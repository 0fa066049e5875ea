package main

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const longestWord = 64

// wordsOf cuts a query as search-leaf cuts documents: the longest runs of letters and digits, in lower case. Each is
// kept once.
func wordsOf(text string) []string {
	list := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	words := []string{}
	for _, w := range list {
		if w = fold(w); w != "" && !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return words
}

func fold(word string) string {
	word = strings.ToLower(word)
	if len(word) > longestWord {
		word = word[:longestWord]
		for !utf8.ValidString(word) {
			word = word[:len(word)-1]
		}
	}
	return word
}
