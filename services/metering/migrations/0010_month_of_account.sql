-- The months of one account, which rankings of few accounts add up.
CREATE INDEX account_month_of ON account_month (s3uid, month);
