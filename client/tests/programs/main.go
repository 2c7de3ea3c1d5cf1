// Runs the Go sample of the producers' guide twice: its first transaction is rolled back, its second is committed.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"log"
	"os"

	"github.com/google/uuid"
	_ "github.com/lib/pq"
)

func place(ctx context.Context, tx *sql.Tx) error {
	payloadJSON, err := json.Marshal(map[string]int{"order": 42})
	if err != nil {
		return err
	}
	headersJSON, err := json.Marshal(map[string]string{"tenant": "a"})
	if err != nil {
		return err
	}
	// SAMPLE
	return err
}

func transaction(ctx context.Context, db *sql.DB, commit bool) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id) VALUES (42)`); err != nil {
		return err
	}
	if err := place(ctx, tx); err != nil || !commit {
		return err
	}
	return tx.Commit()
}

func main() {
	db, err := sql.Open("postgres", os.Getenv("PRODUCER"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for _, commit := range []bool{false, true} {
		if err := transaction(context.Background(), db, commit); err != nil {
			log.Fatal(err)
		}
	}
}
