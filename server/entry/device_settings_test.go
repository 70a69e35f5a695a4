package entry

import (
	"testing"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/profile"
)

func TestDaysText(t *testing.T) {
	t.Parallel()
	p := locale.For(locale.English)
	for _, c := range []struct {
		days []string
		want string
	}{
		{nil, ""},
		{[]string{"mon", "tue", "wed", "thu", "fri"}, "Mo–Fr"},
		{[]string{"sat", "sun"}, "Sa, Su"},
		{[]string{"mon", "wed", "thu", "fri", "sun"}, "Mo, We–Fr, Su"},
	} {
		days, err := profile.ParseDays(c.days)
		if err != nil {
			t.Fatal(err)
		}
		if got := daysText(p, days); got != c.want {
			t.Errorf("%v: %q, want %q", c.days, got, c.want)
		}
	}
}
