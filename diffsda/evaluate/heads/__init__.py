"""Small networks on frozen factors: what can be told of a clip from s and d alone."""
