// What a program does with the AWS SDK for JavaScript; prints what it saw as JSON. The bucket is the argument.

import { Readable } from "node:stream";
import * as sdk from "@aws-sdk/client-s3";

const Bucket = process.argv[2];
const client = new sdk.S3Client({ maxAttempts: 1 }); // endpoint, region and credentials come from the environment
const seen = {};

await client.send(new sdk.PutObjectCommand({ Bucket, Key: "a/ü b", Body: "hello", Metadata: { one: "1" } }));
const got = await client.send(new sdk.GetObjectCommand({ Bucket, Key: "a/ü b", ChecksumMode: "ENABLED" }));
seen.body = await got.Body.transformToString();
seen.metadata = got.Metadata;

// A stream goes out in aws-chunked encoding, its checksum behind it.
const large = Buffer.alloc(300_000, 7);
const parts = Readable.from([large.subarray(0, 100_000), large.subarray(100_000)]);
await client.send(new sdk.PutObjectCommand({ Bucket, Key: "stream", Body: parts, ContentLength: large.length }));
const whole = await client.send(new sdk.GetObjectCommand({ Bucket, Key: "stream" }));
seen.streamed = Buffer.from(await whole.Body.transformToByteArray()).equals(large);
seen.encoding = whole.ContentEncoding ?? null;

const { UploadId } = await client.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key: "parts" }));
const { ETag } = await client.send(new sdk.UploadPartCommand({ Bucket, Key: "parts", UploadId, PartNumber: 1, Body: large }));
const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
await client.send(new sdk.CompleteMultipartUploadCommand({ Bucket, Key: "parts", UploadId, MultipartUpload }));

const listed = await client.send(new sdk.ListObjectsV2Command({ Bucket, Delimiter: "/" }));
seen.keys = listed.Contents.map((one) => [one.Key, one.Size]);
seen.prefixes = listed.CommonPrefixes.map((one) => one.Prefix);
try {
  await client.send(new sdk.GetObjectCommand({ Bucket, Key: "absent" }));
} catch (error) {
  seen.error = [error.name, error.$metadata.httpStatusCode];
}
await client.send(new sdk.DeleteObjectsCommand({ Bucket, Delete: { Objects: listed.Contents.map(({ Key }) => ({ Key })) } }));
console.log(JSON.stringify(seen));
