"""A client of WHMCS that was not written with the simulator: `whmcs-api-client`.

What its typed calls lack goes by its own transport.
"""

import json
import sys

import whmcs_client
from whmcs_client.exceptions import ApiException

WHO = {"username": "identifier", "password": "secret", "responsetype": "json"}
NOT_PENDING = "Order ID not found or Status not Pending"

http = whmcs_client.ApiClient(whmcs_client.Configuration(host=sys.argv[1] + "/includes"))
api = whmcs_client.DefaultApi(http)


def call(action, **parameters):
    form = [*WHO.items(), *((name, str(value)) for name, value in parameters.items())]
    request = http.param_serialize(
        "POST",
        f"/api.php?action={action}",
        header_params={"Content-Type": "application/x-www-form-urlencoded"},
        post_params=form,
    )
    answer = http.call_api(*request)
    answer.read()
    return json.loads(answer.data)


def expect(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def succeed(answer):
    expect(answer["result"], "success")
    return answer


# Clients.
added = api.add_client(
    **WHO, firstname="Ada", lastname="Ä", email="ada@example.com", address1="a", city="c",
    state="s", postcode="1", country="NL", phonenumber="1", currency=1,
)
expect(added.result, "success")
client = added.clientid
details = api.get_clients_details(**WHO, email="ada@example.com")
expect(details.client.email, "ada@example.com")
expect([c.code for c in api.get_currencies(**WHO).currencies.currency], ["EUR"])
expect(api.get_payment_methods(**WHO).result, "success")
expect(api.get_clients(**WHO, search="ada").totalresults, 1)
expect(api.get_products(**WHO).totalresults, 1)

# An order, accepted once.
order = api.add_order(
    **WHO, clientid=client, paymentmethod="paypal", pid=[1], billingcycle=["monthly"],
    domain=["key-1.s3.invalid"], priceoverride=[7.5], noinvoiceemail=True,
)
expect(order.result, "success")
succeed(call("AcceptOrder", orderid=order.orderid))
again = call("AcceptOrder", orderid=order.orderid)
expect((again["result"], again["message"]), ("error", NOT_PENDING))
expect(api.cancel_order(**WHO, orderid=int(order.orderid)).message, NOT_PENDING)
orders = api.get_orders(**WHO, userid=client)
expect([o["status"] for o in orders.orders["order"]], ["Active"])

# What the client has, found by its domain.
found = api.get_clients_products(**WHO, clientid=client, domain="key-1.s3.invalid")
(service,) = found.products["product"]
expect((service["status"], service["recurringamount"]), ("Active", "7.50"))
expect(api.get_clients_products(**WHO, clientid=client, domain="other").products, "")

# Its invoice, paid.
listed = api.get_invoices(**WHO, userid=client, orderby="id", order="desc")
(invoice,) = listed.invoices["invoice"]
expect((invoice["status"], invoice["total"], invoice["currencycode"]), ("Unpaid", "7.50", "EUR"))
pay = {"gateway": "paypal", "date": "2026-01-31 10:00:00", "transid": "t-1"}
succeed(call("AddInvoicePayment", invoiceid=invoice["id"], **pay))
expect(call("AddInvoicePayment", invoiceid=invoice["id"], **pay)["result"], "error")
(paid,) = api.get_transactions(**WHO, transid="t-1").transactions.transaction
expect((paid.invoiceid, paid.amountin), (invoice["id"], 7.5))
expect(succeed(call("GetInvoice", invoiceid=invoice["id"]))["status"], "Paid")

# Pages.
for n in range(26):
    api.add_order(
        **WHO, clientid=client, paymentmethod="paypal", pid=[1], domain=[f"many-{n}.s3.invalid"]
    )
first = api.get_orders(**WHO, userid=client)
expect((first.numreturned, first.totalresults), (25, 27))
last = api.get_orders(**WHO, userid=client, limitstart=25)
expect((last.numreturned, last.startnumber), (2, 25))

# A cancellation, asked for once.
request = {"serviceid": service["id"], "type": "Immediate", "reason": "moved"}
succeed(call("AddCancelRequest", **request))
again = call("AddCancelRequest", **request)
expect(again["message"], "Existing Cancellation Request Exists")
(package,) = succeed(call("GetCancelledPackages"))["packages"]["package"]
expect(package["relid"], service["id"])

# Errors under 200, and others.
refused = api.add_order(**WHO, clientid=999, paymentmethod="paypal", pid=[1])
expect((refused.result, refused.message), ("error", "Client ID Not Found"))
try:
    api.get_orders(**{**WHO, "password": "wrong"})
    raise AssertionError("whoever has no secret got in")
except ApiException as error:
    expect(error.status, 403)

print("all was right")
