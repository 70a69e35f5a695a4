package api

import (
	"net/http"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/deploy"
	"github.com/backstay/backstay/wire"
)

// beginDeployed begins the activation of a computer that shows a deployment
// token. What is refused is recorded beside the token.
func (a *API) beginDeployed(w http.ResponseWriter, r *http.Request, by access.Caller, in wire.BeginActivation) error {
	out, err := deploy.Begin(r.Context(), a.DB, a.Keys, by, in)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, out)
}
