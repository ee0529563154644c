"""What a release is made of: its checks, its files (`make release`), and a sample dataset that may be published
(`make sample`)."""
