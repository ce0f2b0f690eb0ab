// The list of behaviours with AWS's own client for Go. The package's file `behaviour` says which one this function has.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// Mistake is what a handler returns that fails.
type Mistake struct{ text string }

func (m Mistake) Error() string { return m.text }

var calls int
var done *float64

func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

func echo(event json.RawMessage) (json.RawMessage, error) { return event, nil }

func says(ctx context.Context) (map[string]any, error) {
	given, ok := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	if !ok {
		return nil, errors.New("no context")
	}
	return map[string]any{
		"id": given.AwsRequestID, "arn": given.InvokedFunctionArn, "name": lambdacontext.FunctionName,
		"version": lambdacontext.FunctionVersion, "memory": strconv.Itoa(lambdacontext.MemoryLimitInMB),
		"remaining": time.Until(deadline).Milliseconds(),
	}, nil
}

func variables() (map[string]string, error) {
	folder, err := os.Getwd()
	found := map[string]string{"cwd": folder}
	for _, one := range os.Environ() {
		name, value, _ := strings.Cut(one, "=")
		found[name] = value
	}
	return found, err
}

func fails(event any) (int, error) {
	calls++
	if event == "fail" {
		return 0, Mistake{"it went wrong"}
	}
	return calls, nil
}

func exits(event any) (string, error) {
	if event == "exit" {
		os.Exit(3)
	}
	return "fresh", nil
}

func sleeps() { time.Sleep(30 * time.Second) }

func logs() {
	fmt.Println("to stdout")
	fmt.Fprintln(os.Stderr, "to stderr")
}

func large(length int) (string, error) { return strings.Repeat("x", length), nil }

func background(event any) (map[string]any, error) {
	began := now()
	if event == "begin" {
		go func() {
			time.Sleep(600 * time.Millisecond)
			moment := now()
			done = &moment
		}()
	} else {
		time.Sleep(100 * time.Millisecond)
	}
	return map[string]any{"began": began, "done": done}, nil
}

func streams(event any) (io.Reader, error) {
	reader, writer := io.Pipe()
	go func() {
		fmt.Fprint(writer, "one ")
		time.Sleep(20 * time.Millisecond)
		if event == "fail" {
			writer.CloseWithError(Mistake{"it went wrong"})
			return
		}
		fmt.Fprint(writer, "two")
		writer.Close()
	}()
	return reader, nil
}

func main() {
	behaviour, err := os.ReadFile("behaviour")
	if err != nil || string(behaviour) == "broken" {
		fmt.Fprintln(os.Stderr, "not today", err)
		os.Exit(1)
	}
	lambda.Start(map[string]any{
		"echo": echo, "context": says, "variables": variables, "fails": fails, "exits": exits, "sleeps": sleeps,
		"logs": logs, "large": large, "background": background, "streams": streams,
	}[string(behaviour)])
}
