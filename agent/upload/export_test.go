//go:build unix

package upload

// Senders is how many packs are on their way at once.
const Senders = senders
