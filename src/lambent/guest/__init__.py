"""What runs inside an execution environment. Standard library only; knows nothing of lambent."""
