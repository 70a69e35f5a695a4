package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"time"
)

// probeTime is how long a part may take to show that it is there.
const probeTime = 5 * time.Second

// Health is what /healthz answers. Why a part fails is in the log.
type Health struct {
	Status   string `json:"status"` // ok, failed
	Database string `json:"database"`
	Store    string `json:"store"`
}

// health says whether this server can do its work: 200 or 503.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTime)
	defer cancel()
	answer := Health{
		Status:   "ok",
		Database: s.probe("database", s.DB.Ping(ctx)),
		Store:    s.probe("store", s.reachStore(ctx)),
	}
	status := http.StatusOK
	if answer.Database != "ok" || answer.Store != "ok" {
		answer.Status, status = "failed", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}

func (s *Server) probe(part string, err error) string {
	if err == nil {
		return "ok"
	}
	s.cfg.Log.Error("health check failed", "part", part, "error", err)
	return "failed"
}

// reachStore looks for the vault's id, which is there since the first start.
func (s *Server) reachStore(ctx context.Context) error {
	select {
	case <-s.failed:
		return s.failure
	default:
	}
	_, err := s.blobs.Stat(ctx, "vault.id")
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the vault's id is gone: is the folder mounted?")
	}
	return err
}
