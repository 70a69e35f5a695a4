package accounts

// Personal are the tables that Purge empties, for the test that none is missing.
var Personal = personal
