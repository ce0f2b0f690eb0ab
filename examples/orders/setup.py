"""Makes everything around the function of this folder: run it after `app.py` was deployed as `orders`.

    bucket orders, incoming/*  ->  function orders  ->  topic orders-shipped  ->  queue orders-told
                                        |  (failed three times)
                                        v
                                   queue orders-dead  - - redrive - ->  queue orders-again  ->  function orders

Run again, it changes nothing.
"""

import contextlib
import json
import os

import boto3

FUNCTION, BUCKET, TOPIC = "orders", "orders", "orders-shipped"


def main():
    lambda_, s3, sns, sqs = (boto3.client(name) for name in ("lambda", "s3", "sns", "sqs"))
    function = lambda_.get_function_configuration(FunctionName=FUNCTION)["FunctionArn"]

    # What becomes of an order: told to a topic, and from there to a queue.
    topic = sns.create_topic(Name=TOPIC)["TopicArn"]
    told = queue(sqs, "orders-told", may_send=topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=told)

    # What could not be shipped after all retries, and the way back from there.
    dead = queue(sqs, "orders-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 3})
    again = queue(sqs, "orders-again", RedrivePolicy=redrive, VisibilityTimeout="60")
    lambda_.update_function_configuration(FunctionName=FUNCTION, DeadLetterConfig={"TargetArn": dead})
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=FUNCTION, WaiterConfig={"Delay": 1})
    retries = int(os.environ.get("ORDERS_RETRIES", "2"))
    destinations = {"OnSuccess": {"Destination": topic}}
    lambda_.put_function_event_invoke_config(
        FunctionName=FUNCTION, MaximumRetryAttempts=retries, DestinationConfig=destinations
    )
    if not lambda_.list_event_source_mappings(FunctionName=FUNCTION, EventSourceArn=again)["EventSourceMappings"]:
        lambda_.create_event_source_mapping(FunctionName=FUNCTION, EventSourceArn=again)

    # New objects below incoming/ invoke the function.
    s3.create_bucket(Bucket=BUCKET)
    permit(lambda_, f"arn:aws:s3:::{BUCKET}")
    told_of = {
        "LambdaFunctionArn": function,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "incoming/"}]}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"LambdaFunctionConfigurations": [told_of]}
    )


def queue(sqs, name, may_send=None, **attributes):
    """The ARN of a queue, which lets a topic send to it."""
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    if may_send:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": may_send}},
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    return arn


def permit(lambda_, source):
    """Lets the bucket invoke the function."""
    with contextlib.suppress(lambda_.exceptions.ResourceConflictException):  # it is let in already
        lambda_.add_permission(
            FunctionName=FUNCTION,
            StatementId="bucket",
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn=source,
        )


if __name__ == "__main__":
    main()
