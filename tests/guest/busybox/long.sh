# One that computes for long: TSan does without it.
seq 20000 | awk '{ s += $1 } END { print s }'
