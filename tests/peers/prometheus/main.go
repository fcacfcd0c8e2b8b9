// prometheus-reference answers remote write and range queries on loopback with Prometheus' own parts: its remote write handler,
// its tsdb and its PromQL engine, nothing of them configured beyond what the flags say. The differential test of outlierd
// (tests/it/promql) compares itself with it.
//
//	POST /{db}/api/v1/write         remote write 1.0 into the database of that name, which is made on first use
//	POST /{db}/api/v1/query_range   form: query, start_ms, end_ms, step_ms
//
// It prints `listening on 127.0.0.1:PORT` and ends, with all that it stored, once its standard input closes or on SIGTERM.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
)

func main() {
	lookback := flag.Duration("lookback", 5*time.Minute, "lookback of instant selectors")
	flag.Parse()
	if err := run(*lookback); err != nil {
		fmt.Fprintln(os.Stderr, "prometheus-reference:", err)
		os.Exit(1)
	}
}

func run(lookback time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	folder, err := os.MkdirTemp("", "prometheus-reference-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	// The caller's end closes our input: nothing is left behind even if it was killed.
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()

	// As Prometheus runs it by default: no experimental functions, no delayed name removal.
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples:           50_000_000,
		Timeout:              2 * time.Minute,
		LookbackDelta:        lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
	})
	dbs := &databases{folder: folder, open: map[string]*database{}}
	defer dbs.close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{db}/api/v1/write", func(w http.ResponseWriter, r *http.Request) {
		if db := dbs.get(w, r); db != nil {
			db.write.ServeHTTP(w, r)
		}
	})
	mux.HandleFunc("POST /{db}/api/v1/query_range", func(w http.ResponseWriter, r *http.Request) {
		if db := dbs.get(w, r); db != nil {
			queryRange(engine, db.tsdb, w, r)
		}
	})

	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	server := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// database is one tsdb with the handler that writes into it.
type database struct {
	tsdb  *tsdb.DB
	write http.Handler
}

// databases are made on first use, one folder each.
type databases struct {
	folder string
	mutex  sync.Mutex
	open   map[string]*database
}

func (d *databases) get(w http.ResponseWriter, r *http.Request) *database {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	name := r.PathValue("db")
	if db := d.open[name]; db != nil {
		return db
	}
	options := tsdb.DefaultOptions()
	options.WALSegmentSize = -1 // nothing outlives the process
	options.OutOfOrderTimeWindow = time.Hour.Milliseconds()
	// Names of databases are not file names.
	folder := filepath.Join(d.folder, strconv.Itoa(len(d.open)))
	opened, err := tsdb.Open(folder, slog.New(slog.DiscardHandler), nil, options, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil
	}
	opened.DisableCompactions() // everything stays in the head
	accepted := remoteapi.MessageTypes{remoteapi.WriteV1MessageType}
	handler := remote.NewWriteHandler(slog.New(slog.NewTextHandler(os.Stderr, nil)), prometheus.NewRegistry(), opened, accepted, false, false, false)
	db := &database{tsdb: opened, write: handler}
	d.open[name] = db
	return db
}

func (d *databases) close() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, db := range d.open {
		db.tsdb.Close()
	}
}

// series is one element of the answer: `[t_ms, "value"]` per step that it has one at.
type series struct {
	Metric map[string]string `json:"metric"`
	Values [][2]any          `json:"values"`
}

// queryRange answers 200 with a list of series, or 422 with the error as text.
func queryRange(engine *promql.Engine, db *tsdb.DB, w http.ResponseWriter, r *http.Request) {
	var ms [3]int64
	for i, name := range []string{"start_ms", "end_ms", "step_ms"} {
		value, err := strconv.ParseInt(r.FormValue(name), 10, 64)
		if err != nil {
			http.Error(w, fmt.Sprintf("%s: %v", name, err), http.StatusBadRequest)
			return
		}
		ms[i] = value
	}
	query, err := engine.NewRangeQuery(r.Context(), db, nil, r.FormValue("query"), time.UnixMilli(ms[0]), time.UnixMilli(ms[1]), time.Duration(ms[2])*time.Millisecond)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	defer query.Close()
	matrix, err := query.Exec(r.Context()).Matrix()
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	answer := make([]series, 0, len(matrix))
	for _, element := range matrix {
		one := series{Metric: element.Metric.Map(), Values: make([][2]any, 0, len(element.Floats))}
		for _, point := range element.Floats {
			// As text, since JSON has no NaN and no infinity. -1: as many digits as it takes to read the same number back.
			one.Values = append(one.Values, [2]any{point.T, strconv.FormatFloat(point.F, 'g', -1, 64)})
		}
		answer = append(answer, one)
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriter(w)
	defer out.Flush()
	json.NewEncoder(out).Encode(answer)
}
