package web_test

import (
	"testing"

	"github.com/backstay/backstay/locale"
	"github.com/backstay/backstay/web"
)

func TestBrowser(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36 Edg/130.0": "Edge sur Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Mobile/15E148 Safari/604.1":      "Safari sur iPhone",
		"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0":                                                "Firefox sur Linux",
		"curl/8.5.0": "Navigateur inconnu",
	} {
		if got := web.Browser(locale.For("fr"), agent); got != want {
			t.Errorf("%s is %q, want %q", agent, got, want)
		}
	}
}
