// Command icon writes our mark into a file for Windows, in the sizes that it shows.
package main

import (
	"fmt"
	"image"
	"image/color"
	"os"

	"github.com/backstay/backstay/agent/mark"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: icon FILE")
		os.Exit(2)
	}
	var sizes []image.Image
	for _, size := range []int{16, 32, 48, 256} {
		sizes = append(sizes, mark.Draw(size, color.NRGBA{}))
	}
	if err := os.WriteFile(os.Args[1], mark.ICO(sizes...), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
