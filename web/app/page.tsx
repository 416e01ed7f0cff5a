import { Providers } from "@/components/providers";
import { Shell } from "@/components/shell";

export default function Page() {
  return (
    <Providers>
      <Shell />
    </Providers>
  );
}
