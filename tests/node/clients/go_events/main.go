// Reads the event of a service as aws-lambda-go does, refuses what its types do not know, and writes it back.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/events"
)

func main() {
	kinds := map[string]any{"s3": &events.S3Event{}, "sns": &events.SNSEvent{}, "sqs": &events.SQSEvent{}}
	event := kinds[os.Args[1]]
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(event); err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(event); err != nil {
		log.Fatal(err)
	}
}
