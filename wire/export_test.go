package wire

// SetHTTP2 lets a benchmark compare.
func (c *Client) SetHTTP2(on bool) {
	c.transport.Protocols.SetHTTP1(!on)
	c.transport.Protocols.SetHTTP2(on)
}
