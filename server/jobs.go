package server

import "context"

// jobs are what a server does of its own accord, each until its context ends.
func (s *Server) jobs() []func(context.Context) {
	return nil
}
