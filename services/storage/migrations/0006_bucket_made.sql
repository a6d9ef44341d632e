-- Which making of a bucket was told to history: of several callers who make it at the same moment one
-- tells, and none of the others takes it away again.
CREATE TABLE bucket_made (
    s3uid text NOT NULL,
    bucket text NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (s3uid, bucket)
);
