package ring

import "testing"

// TestHashVectors has the vectors of twemproxy's own test program.
func TestHashVectors(t *testing.T) {
	for hash, want := range map[Hash]uint32{
		OneAtATime: 2297466611, MD5: 3195025439, CRC16: 3662830516, CRC32: 10542, CRC32a: 2838417488,
		FNV1x32: 67176023, FNV1ax32: 280767167, FNV1x64: 473199127, FNV1ax64: 1488911807,
		Hsieh: 3738850110, Jenkins: 1442444624, Murmur: 4142305122,
	} {
		for _, unsigned := range []bool{false, true} {
			if got := hash.Sum([]byte("apple"), unsigned); got != want {
				t.Errorf("%s of apple, unsigned %v: %d, want %d", hash, unsigned, got, want)
			}
		}
		if got := hash.Sum(nil, false); got != 0 {
			t.Errorf("%s of the empty key: %d, want 0", hash, got)
		}
	}
}

// TestSign is about bytes that C's char makes negative.
func TestSign(t *testing.T) {
	key := []byte("é")
	if got := FNV1ax64.Sum(key, false); got != 3033280513 {
		t.Errorf("signed: %d, want 3033280513", got)
	}
	if got := FNV1ax64.Sum(key, true); got != 3071811073 {
		t.Errorf("unsigned: %d, want 3071811073", got)
	}
	// Three bytes, so that hsieh has one left over that is signed.
	differ := map[Hash]bool{OneAtATime: true, FNV1x64: true, FNV1ax64: true, FNV1x32: true, FNV1ax32: true, Hsieh: true}
	for _, hash := range Hashes {
		signed, unsigned := hash.Sum([]byte("\xc3\xa9\xff"), false), hash.Sum([]byte("\xc3\xa9\xff"), true)
		if (signed != unsigned) != differ[hash] {
			t.Errorf("%s: %d signed and %d unsigned", hash, signed, unsigned)
		}
	}
}

func BenchmarkSum(b *testing.B) {
	key := []byte("user:1000:profile")
	for _, hash := range Hashes {
		b.Run(string(hash), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hash.Sum(key, false)
			}
		})
	}
}
