"""How invocations run: admission, pools, execution environments."""
