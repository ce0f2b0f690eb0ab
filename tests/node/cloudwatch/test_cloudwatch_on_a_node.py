"""CloudWatch through boto3 and on the wire, with the metrics of real functions."""

import json
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import cbor2
import pytest
from botocore.exceptions import ClientError

TARGET = "GraniteServiceVersion20100801"


@pytest.fixture
def cloudwatch(lambent):
    return lambent.client("cloudwatch")


@pytest.fixture
def shop(cloudwatch):
    """A namespace of the test's own, with three values a minute ago."""
    namespace = f"Shop-{uuid.uuid4().hex}"
    datum = {"MetricName": "Orders", "Dimensions": [{"Name": "Store", "Value": "east"}], "Unit": "Count"}
    at = datetime.now(UTC) - timedelta(minutes=1)
    data = [{**datum, "Timestamp": at, "Value": 4.0}, {**datum, "Timestamp": at, "Values": [1.0], "Counts": [2.0]}]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    return namespace


def an_hour():
    now = datetime.now(UTC)
    return {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=1)}


def test_what_was_put_is_listed_and_read(cloudwatch, shop):
    (metric,) = cloudwatch.list_metrics(Namespace=shop)["Metrics"]
    dimensions = [{"Name": "Store", "Value": "east"}]
    assert metric == {"Namespace": shop, "MetricName": "Orders", "Dimensions": dimensions}
    answer = cloudwatch.get_metric_statistics(
        **metric, **an_hour(), Period=86_400, Statistics=["Sum", "SampleCount", "Average"], ExtendedStatistics=["p90"]
    )
    (point,) = answer["Datapoints"]
    assert answer["Label"] == "Orders"
    assert (point["Sum"], point["SampleCount"], point["Average"], point["Unit"]) == (6.0, 3.0, 2.0, "Count")
    assert point["ExtendedStatistics"] == {"p90": 4.0}


def test_data_is_paged(cloudwatch, shop):
    at = datetime.now(UTC).replace(second=30, microsecond=0) - timedelta(minutes=20)
    data = [
        {"MetricName": "Paged", "Timestamp": at + timedelta(minutes=number), "Value": float(number)}
        for number in range(10)
    ]
    cloudwatch.put_metric_data(Namespace=shop, MetricData=data)
    stat = {"Metric": {"Namespace": shop, "MetricName": "Paged"}, "Period": 60, "Stat": "Sum"}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[{"Id": "m", "MetricStat": stat}],
        **an_hour(),
        ScanBy="TimestampAscending",
        PaginationConfig={"PageSize": 3},
    )
    values = [page["MetricDataResults"][0]["Values"] for page in pages]
    assert values == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_errors_are_those_of_the_model(cloudwatch):
    with pytest.raises(cloudwatch.exceptions.InvalidParameterValueException) as raised:
        cloudwatch.get_metric_statistics(Namespace="N", MetricName="M", **an_hour(), Period=61, Statistics=["Sum"])
    assert raised.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert raised.value.response["Error"]["Message"] == "The parameter Period must be a multiple of 60."
    with pytest.raises(cloudwatch.exceptions.InvalidNextToken):
        cloudwatch.get_metric_data(MetricDataQueries=[_query("N", "M")], **an_hour(), NextToken="x")
    with pytest.raises(ClientError) as refused:
        cloudwatch.get_metric_data(MetricDataQueries=[_query("N", "M", "Median")], **an_hour())
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def _query(namespace, name, stat="Sum"):
    metric = {"Namespace": namespace, "MetricName": name}
    return {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}


def _post(lambent, path, body, headers):
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=000000000000/20260101/us-east-1/monitoring/aws4_request"}
    request = urllib.request.Request(f"{lambent.endpoint}{path}", data=body, headers={**signed, **headers})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_all_three_protocols_answer_alike(lambent, shop):
    body = urlencode({"Action": "ListMetrics", "Version": "2010-08-01", "Namespace": shop}).encode()
    status, xml = _post(lambent, "/", body, {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 200
    assert b"<MetricName>Orders</MetricName>" in xml
    expected = [{"Namespace": shop, "MetricName": "Orders", "Dimensions": [{"Name": "Store", "Value": "east"}]}]
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"{TARGET}.ListMetrics"}
    status, text = _post(lambent, "/", json.dumps({"Namespace": shop}).encode(), headers)
    assert (status, json.loads(text)) == (200, {"Metrics": expected})
    headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
    path = f"/service/{TARGET}/operation/ListMetrics"
    status, raw = _post(lambent, path, cbor2.dumps({"Namespace": shop}), headers)
    assert (status, cbor2.loads(raw)) == (200, {"Metrics": expected})


def test_all_three_protocols_refuse_alike(lambent):
    params = {"Namespace": "N", "MetricName": "M", "Period": 60, "StartTime": 0, "EndTime": 0}
    times = {"StartTime": "1970-01-01T00:00:00Z", "EndTime": "1970-01-01T00:00:00Z", "Statistics.member.1": "Sum"}
    query = {"Action": "GetMetricStatistics", "Version": "2010-08-01"} | params | times
    status, xml = _post(lambent, "/", urlencode(query).encode(), {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 400
    assert b"<Code>InvalidParameterValue</Code>" in xml
    assert b"The parameter StartTime must not equal parameter EndTime." in xml
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"{TARGET}.GetMetricStatistics"}
    status, text = _post(lambent, "/", json.dumps(params | {"Statistics": ["Sum"]}).encode(), headers)
    assert status == 400
    assert json.loads(text)["__type"].endswith("InvalidParameterValueException")
    assert json.loads(text)["message"] == "The parameter StartTime must not equal parameter EndTime."
