package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"os/user"

	"example.org/words/internal/words"
)

var version = "unknown"

func main() {
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		json.NewEncoder(w).Encode(words.Count(string(text)))
	})
	http.HandleFunc("/about", func(w http.ResponseWriter, r *http.Request) {
		name := "nobody known"
		if who, err := user.Current(); err == nil {
			name = who.Username
		}
		json.NewEncoder(w).Encode(map[string]string{"version": version, "user": name})
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
