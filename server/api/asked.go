package api

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server/access"
)

// How often may be asked within a minute, by one token and from one address,
// whatever the tokens. Each server counts for itself.
const (
	askedByToken   = 600
	askedByAddress = 1200
)

// asked counts requests within the minute that runs.
type asked struct {
	mu     sync.Mutex
	minute time.Time
	counts map[string]int
}

// admit counts a request and tells in its header how many more there may be; it
// refuses the one that is too much.
func (c *asked) admit(h http.Header, now time.Time, by access.Caller) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(c.minute) {
		c.minute, c.counts = minute, map[string]int{}
	}
	token, address := "token "+by.Token, "address "+by.IP
	c.counts[token]++
	c.counts[address]++
	limit, left := askedByToken, askedByToken-c.counts[token]
	if other := askedByAddress - c.counts[address]; other < left {
		limit, left = askedByAddress, other
	}
	wait := int(c.minute.Add(time.Minute).Sub(now)/time.Second) + 1
	h.Set("RateLimit-Limit", strconv.Itoa(limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(max(left, 0)))
	h.Set("RateLimit-Reset", strconv.Itoa(wait))
	if left < 0 {
		return errs.Of(errs.TooManyAttempts, "n", wait)
	}
	return nil
}
