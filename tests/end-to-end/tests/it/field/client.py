"""What clients in Python do with `requests`: params, data, json, files, bodies of a GET.

Arguments: address of the facade, token, id of a plan. Ends with a traceback at the first wrong
answer.
"""

import sys

import requests

base, token, plan_id = sys.argv[1:]
session = requests.Session()
session.trust_env = False


def send(how, method, url, fields):
    """Sends fields in one of the ways that `requests` has."""
    arguments = {
        "params": {"params": fields},
        "data": {"data": fields},
        "json": {"json": fields},
        "files": {"files": {name: (None, str(value)) for name, value in fields.items()}},
    }[how]
    answer = session.request(method, url, timeout=60, **arguments)
    assert answer.headers["content-type"] == "application/json; charset=utf-8", answer.headers
    assert answer.headers["cache-control"] == "no-store", answer.headers
    return answer.status_code, answer.json()


order = {"token": token, "plan_id": int(plan_id), "bucket_name": "python-first"}
status, answer = send("json", "POST", f"{base}/s3/create_order", order)
assert (status, answer["result"]) == (200, "OK"), answer
s3uid = answer["s3uid"]

for how in ["params", "data", "json", "files"]:
    fields = {"token": token, "s3uid": s3uid, "bucket_name": f"python-{how}"}
    for action in ["create_bucket", "delete_bucket"]:
        status, answer = send(how, "POST", f"{base}/s3/{action}", fields)
        assert (status, answer.get("bucket_name")) == (200, f"python-{how}"), (how, answer)
    for method in ["GET", "POST"]:
        fields = {"token": token, "s3uid": s3uid}
        status, answer = send(how, method, f"{base}/s3/get_buckets_rmq", fields)
        assert status == 200 and isinstance(answer["message"], list), (how, method, answer)
        assert type(answer["usage_storage"]) is int, answer
        assert type(answer["metering"]["total_storage_gb"]) is float, answer
        fields["bucket_name"] = "python-first"
        fields["max_keys"] = 3
        fields["search"] = "été & <neige>"
        status, answer = send(how, method, f"{base}/s3/get_files", fields)
        assert answer["files"] == [] and answer["is_truncated"] is False, (how, method, answer)
        fields["filename"] = "été & <neige>.jpg"
        if method == "POST":
            status, answer = send(how, method, f"{base}/s3/delete_file", fields)
            assert answer["filename"] == "été & <neige>.jpg", (how, answer)
        else:
            status, answer = send(how, method, f"{base}/s3/delete_file", fields)
            assert (status, answer["message"]) == (405, "method not allowed"), (how, answer)
        fields["action"] = "show_key"
        fields["s3_key"] = "access_key"
        status, answer = send(how, method, f"{base}/s3.php", fields)
        assert answer["key"] == answer["access_key"] and len(answer["key"]) == 20, answer
        status, answer = send(how, method, f"{base}/s3/get_users", {"token": "gone"})
        assert (status, answer["message"], answer["code"]) == (401, "invalid token", -1), answer

headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "from-python"}
answer = session.get(f"{base}/s3/list_plans", headers=headers, timeout=60)
assert answer.headers["x-request-id"] == "from-python" and answer.json()["result"] == "OK"
listed = session.post(
    f"{base}/s3/list_plans", data=[("token", "gone"), ("token", token)], timeout=60
)
assert listed.json()["result"] == "OK", "the last of two is taken"
print("all was right")
