package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestWord bounds a word: what is longer is no word that anybody asks for, and is cut.
const longestWord = 64

// words calls yield with each word of a text, in lower case: the longest runs of letters and digits. Search-root cuts
// queries in the same way, and so must everybody who wants the same answers. A piece is valid only until the next one.
func words(text string, yield func(word string)) {
	begin := -1
	for i, r := range text {
		switch in := unicode.IsLetter(r) || unicode.IsDigit(r); {
		case in && begin < 0:
			begin = i
		case !in && begin >= 0:
			yield(fold(text[begin:i]))
			begin = -1
		}
	}
	if begin >= 0 {
		yield(fold(text[begin:]))
	}
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
