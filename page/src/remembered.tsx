/** A component that is shown again only when `same` says that its properties differ, or a signal in it changes. */

import { Component, type ComponentType, type FunctionComponent } from "preact";

export function remembered<P extends object>(
  Shown: FunctionComponent<P>,
  same: (one: P, other: P) => boolean,
): ComponentType<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      return !same(this.props as P, next as P);
    }

    override render() {
      return <Shown {...(this.props as P)} />;
    }
  };
}
