package wire

import (
	"net/http"
	"net/url"
)

// SetProxy stands in for the environment, which net/http reads once only and
// never for loopback addresses.
func (c *Client) SetProxy(proxy func(*http.Request) (*url.URL, error)) { c.transport.Proxy = proxy }

// SetHTTP2 lets a benchmark compare.
func (c *Client) SetHTTP2(on bool) {
	c.transport.Protocols.SetHTTP1(!on)
	c.transport.Protocols.SetHTTP2(on)
}
