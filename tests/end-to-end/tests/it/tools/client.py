"""What people do with boto3. The folder `out` is to be in the bucket and in `back` at the end."""

import io
import os
import sys
import urllib.error
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, BUCKET = sys.argv[1:]
ONE_TRY = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
PARTS = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20)
ODD_KEYS = [
    "/lead",
    "//lead",
    "trail/",
    "a//b",
    "..",
    ".",
    "../up",
    "a/../b",
    "./here",
    "%",
    "%2e%2e/q",
    "%25",
    "sp ace",
    "plus+plus",
    "a&b=c?d#e;f,g",
    "quote'\"`",
    "<xml>&amp;</xml>",
    "ümläut ß",
    "漢字 🦀",
    "tab\tnew\nline\rreturn",
    "\\back\\slash",
    "~tilde!*'()",
    "k" * 1024,
    "é" * 512,
]

s3 = boto3.client("s3", endpoint_url=ENDPOINT, config=ONE_TRY)
# By itself boto3 signs URLs by version 2 of the signature, here by 4.
version_4 = boto3.client("s3", endpoint_url=ENDPOINT, config=ONE_TRY.merge(Config(signature_version="s3v4")))
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def refused(status, code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        got = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
        assert got == (status, code), (arguments, got)
        return
    raise AssertionError(f"{call} {arguments} was not refused")


def body(key, **arguments):
    return s3.get_object(Bucket=BUCKET, Key=key, **arguments)["Body"].read()


def keys(bucket=BUCKET, **arguments):
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **arguments):
        found += [entry["Key"] for entry in page.get("Contents", [])]
    return found


def local(folder):
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            found[os.path.relpath(path, folder)] = path
    return found


def sync_there():
    mine = local("out")
    for key, path in mine.items():
        s3.upload_file(path, BUCKET, key, Config=PARTS)
    gone = [{"Key": key} for key in keys() if key not in mine]
    if gone:
        assert "Errors" not in s3.delete_objects(Bucket=BUCKET, Delete={"Objects": gone})
    assert sorted(keys()) == sorted(mine)


def sync_back():
    stored = keys()
    for key in stored:
        path = os.path.join("back", key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        s3.download_file(BUCKET, key, path, Config=PARTS)
    for key, path in local("back").items():
        if key not in stored:
            os.remove(path)


def odd_keys():
    s3.create_bucket(Bucket="boto-odd")
    for n, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket="boto-odd", Key=key, Body=str(n))
    assert sorted(keys("boto-odd")) == sorted(ODD_KEYS), keys("boto-odd")
    one_by_one = keys("boto-odd", PaginationConfig={"PageSize": 1})
    assert one_by_one == sorted(ODD_KEYS, key=str.encode), one_by_one
    pages = s3.get_paginator("list_objects").paginate(
        Bucket="boto-odd", Delimiter="/", PaginationConfig={"PageSize": 3}
    )
    rolled = []
    for page in pages:
        rolled += [entry["Key"] for entry in page.get("Contents", [])]
        rolled += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    wanted = {key.split("/")[0] + "/" if "/" in key else key for key in ODD_KEYS}
    assert sorted(rolled) == sorted(wanted), rolled
    for n, key in enumerate(ODD_KEYS):
        source = {"Bucket": "boto-odd", "Key": key}
        assert s3.get_object(**source)["Body"].read() == str(n).encode(), key
        s3.copy_object(Bucket="boto-odd", Key="copy", CopySource=source)
        assert s3.head_object(Bucket="boto-odd", Key="copy")["ContentLength"] == len(str(n)), key
        for client in (s3, version_4):
            url = client.generate_presigned_url("get_object", Params=source)
            assert opener.open(url).read() == str(n).encode(), url
    refused(400, "KeyTooLongError", s3.put_object, Bucket="boto-odd", Key="k" * 1025)
    everything = [{"Key": key} for key in ODD_KEYS + ["copy", "never was"]]
    done = s3.delete_objects(Bucket="boto-odd", Delete={"Objects": everything})
    assert len(done["Deleted"]) == len(everything) and "Errors" not in done, done
    s3.delete_bucket(Bucket="boto-odd")


def signed_urls(client):
    put = {"Bucket": BUCKET, "Key": "signed ü", "ContentType": "text/x-signed"}
    url = client.generate_presigned_url("put_object", Params=put, ExpiresIn=60)
    headers = {"Content-Type": "text/x-signed"}
    opener.open(urllib.request.Request(url, b"by a URL", headers, method="PUT"))
    assert body("signed ü") == b"by a URL"
    assert s3.head_object(Bucket=BUCKET, Key="signed ü")["ContentType"] == "text/x-signed"
    try:
        opener.open(urllib.request.Request(url + "0", b"forged", headers, method="PUT"))
        raise AssertionError("a forged URL was good")
    except urllib.error.HTTPError as error:
        assert error.code in (400, 403), error
    assert body("signed ü") == b"by a URL"
    get = {"Bucket": BUCKET, "Key": "signed ü", "ResponseContentDisposition": "attachment; filename=x"}
    answer = opener.open(client.generate_presigned_url("get_object", Params=get))
    assert answer.headers["Content-Disposition"] == "attachment; filename=x"
    assert answer.read() == b"by a URL"
    s3.delete_object(Bucket=BUCKET, Key="signed ü")


def ranges_and_copies():
    with open("out/big.bin", "rb") as file:
        whole = file.read()
    for asked, wanted in [
        ("bytes=0-0", whole[:1]),
        ("bytes=5242870-5242889", whole[5242870:5242890]),
        ("bytes=17000000-", whole[17000000:]),
        ("bytes=-7", whole[-7:]),
    ]:
        assert body("big.bin", Range=asked) == wanted, asked
    refused(416, "InvalidRange", s3.get_object, Bucket=BUCKET, Key="big.bin", Range="bytes=99999999-")
    assert body("big.bin", PartNumber=2) == whole[5 << 20 : 10 << 20]
    s3.copy({"Bucket": BUCKET, "Key": "big.bin"}, BUCKET, "copy", Config=PARTS)
    assert s3.head_object(Bucket=BUCKET, Key="copy")["ETag"].endswith('-4"')
    assert body("copy") == whole
    got = io.BytesIO()
    s3.download_fileobj(BUCKET, "copy", got, Config=PARTS)
    assert got.getvalue() == whole
    s3.delete_object(Bucket=BUCKET, Key="copy")
    refused(404, "404", s3.head_object, Bucket=BUCKET, Key="copy")


def words_of_the_customer():
    s3.put_object(
        Bucket=BUCKET, Key="meta", Body=b"x", Metadata={"who": "me", "n": "1"}, CacheControl="no-cache"
    )
    head = s3.head_object(Bucket=BUCKET, Key="meta")
    assert (head["Metadata"], head["CacheControl"]) == ({"who": "me", "n": "1"}, "no-cache"), head
    again = {"Bucket": BUCKET, "Key": "meta", "IfNoneMatch": "*"}
    refused(412, "PreconditionFailed", s3.put_object, Body=b"y", **again)
    refused(304, "304", s3.get_object, Bucket=BUCKET, Key="meta", IfNoneMatch=head["ETag"])
    s3.delete_object(Bucket=BUCKET, Key="meta")


assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]
sync_there()
sync_back()
ranges_and_copies()
signed_urls(s3)
signed_urls(version_4)
words_of_the_customer()
odd_keys()
os.remove("out/100%.txt")
with open("out/plain.txt", "w") as changed:
    changed.write("another content")
sync_there()
sync_back()
print("all was right")
