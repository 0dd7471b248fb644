package words

import "testing"

func TestCount(t *testing.T) {
	if got := Count("a B b"); got["a"] != 1 || got["b"] != 2 {
		t.Fatal(got)
	}
}
