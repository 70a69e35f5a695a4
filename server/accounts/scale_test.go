//go:build !race

package accounts_test

import "github.com/backstay/backstay/server/accounts"

// manyRows is how many the large import has.
const manyRows = accounts.MaxImportRows
