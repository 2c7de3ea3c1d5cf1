module sample

go 1.21

require (
	github.com/google/uuid v1.6.0
	github.com/lib/pq v1.12.3
)
