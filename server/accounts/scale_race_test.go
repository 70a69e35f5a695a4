//go:build race

package accounts_test

// manyRows is how many the large import has: the race detector makes each
// twenty times as dear, and finds in a thousand what it finds in ten.
const manyRows = 1000
